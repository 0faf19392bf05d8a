"""Two hundred JSON schemas: what a value may be, in each place that it may stand in."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

VALUES: list[Schema] = [
    {"type": "boolean"},
    {"type": "null"},
    {"type": "integer", "minimum": 0, "maximum": 9},
    {"type": "integer", "minimum": -20, "maximum": -3},
    {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1000},
    {"type": "integer", "minimum": 0, "maximum": 300, "multipleOf": 7},
    {"type": "number", "minimum": 0.5, "maximum": 2.25},
    {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 1},
    {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
    {"type": ["boolean", "string"], "maxLength": 3},
    {"type": "string", "maxLength": 6},
    {"type": "string", "minLength": 3, "maxLength": 3},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    {"type": "string", "pattern": "^(ab|cd){1,3}e?$"},
    {"type": "string", "pattern": "^[äöü]{2}$"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "time"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "ipv4"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "no-such-format", "maxLength": 4},
    {"enum": ["red", "green", "blue"]},
    {"enum": [1, "1", None, True, [1], {"a": 1}]},
    {"enum": ["naïve", "日本語", "🙂", 'tab\tquote"slash\\']},
    {"const": {"deep": [1, {"er": "µ"}]}},
    {"const": 'a long text that nobody chooses, with "quotes" and\nlines'},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2},
    {
        "type": "array",
        "prefixItems": [{"type": "boolean"}, {"enum": ["x"]}],
        "items": False,
        "minItems": 2,
    },
    {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["c", "d"]}},
        "required": ["a"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"größe": {"type": "null"}, "a b": {"const": 1}},
        "required": ["größe", "a b"],
        "additionalProperties": False,
    },
    {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 0},
    {
        "type": "object",
        "patternProperties": {"^k[0-9]$": {"type": "boolean"}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 1, "maximum": 3}}},
        ],
        "type": "object",
        "additionalProperties": False,
        "properties": {"a": True},
    },
    {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 2}]},
    {"anyOf": [{"const": 1}, {"const": "one"}, {"const": [1]}]},
    {"oneOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": 2}]},
    {"type": "string", "minLength": 1, "maxLength": 4, "pattern": "^[a-z]+$"},
    {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,2})?$", "description": "a price"},
    {"title": "a title", "default": 3, "type": "integer", "minimum": 3, "maximum": 4},
]


def _field(schema: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"id": {"const": 7}, "value": schema},
        "required": ["id", "value"],
        "additionalProperties": False,
    }


def _named(schema: Schema) -> Schema:
    return {
        "$ref": "#/$defs/pair",
        "$defs": {
            "one": schema,
            "pair": {"type": "array", "items": {"$ref": "#/$defs/one"}, "maxItems": 2},
        },
    }


SCHEMAS: list[Schema] = [
    place(schema)
    for schema in VALUES
    for place in (
        lambda one: one,
        _field,
        _named,
        lambda one: {"type": "array", "items": one, "minItems": 1, "maxItems": 2},
        lambda one: {"anyOf": [{"const": "none"}, _field(one)]},
    )
]

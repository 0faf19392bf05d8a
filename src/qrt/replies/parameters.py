"""What the schema of a tool's parameters says of the types of its arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_OF_JSON: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_MAX_DEPTH = 8

Schema = Mapping[str, Any]


def types_of(schema: Schema, name: str) -> frozenset[str]:
    """The JSON types that an argument may have; none where the schema does not say."""
    properties = schema.get("properties")
    inner = properties.get(name) if isinstance(properties, Mapping) else None
    return frozenset(_types(inner, schema, 0))


def as_json(text: str, types: frozenset[str]) -> str:
    """The JSON text of an argument that was written without quotes."""
    word = text.strip()
    word = _PYTHON_WORDS.get(word, word)
    try:
        kind = _OF_JSON[type(json.loads(word))]
    except (ValueError, RecursionError):
        kind = "string"
    is_number = kind == "integer" and "number" in types
    if kind == "string" or (types and kind not in types and not is_number):
        return json.dumps(text, ensure_ascii=False)
    return word


def _types(schema: object, root: Schema, depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return set()
    found: set[str] = set()
    named = schema.get("type")
    found.update(kind for kind in (named if isinstance(named, list) else [named]) if kind)
    for key in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(key)
        for part in parts if isinstance(parts, list) else []:
            found |= _types(part, root, depth + 1)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not found and isinstance(values, list):
        found.update(_OF_JSON.get(type(value), "") for value in values)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: object = root
        for step in reference[2:].split("/"):
            target = target.get(step) if isinstance(target, Mapping) else None
        found |= _types(target, root, depth + 1)
    return {kind for kind in found if isinstance(kind, str) and kind}

"""A grammar as llguidance reads it, once it is known to be small enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from qrt.errors import InputError
from qrt.runtime.constraint import Grammar
from qrt.structure import limits
from qrt.structure.gbnf import lark_of
from qrt.structure.vocabulary import library

_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""Those that are enforced; a format that a reader does not know says nothing of a value."""
_VALUES: Final = ("const", "enum", "default", "examples")
"""Keywords of a schema whose values are no schemas."""
_COMPACT: Final = {"whitespace_flexible": False}
"""No white space between the parts of JSON: fewer tokens, and none that may go on without end."""


def source(grammar: Grammar) -> str:
    """The text that llguidance compiles. Raises InputError."""
    if grammar.kind not in _SOURCES:
        known = ", ".join(_SOURCES)
        raise InputError(f"there is no kind of grammar {grammar.kind!r}; there are {known}")
    limits.check_text(grammar.text)
    return _SOURCES[grammar.kind](grammar.text)


def _json_schema(text: str) -> str:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the JSON schema is no JSON: {error}") from None
    limits.check_depth(schema)
    schema = {} if schema is True else schema
    if not isinstance(schema, dict):
        raise InputError(f"the JSON schema must be an object, got {text[:40]}")
    ready = json.dumps(_checked(schema))
    try:
        made: str = library().LLMatcher.grammar_from_json_schema(ready, defaults=_COMPACT)
    except ValueError as error:
        raise InputError(f"the JSON schema is wrong: {error}") from None
    return made


def _checked(schema: Any) -> Any:
    """A schema, or a part of one, without formats that are not enforced."""
    if isinstance(schema, list):
        return [_checked(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    patterns = schema.get("patternProperties", {})
    for pattern in (schema.get("pattern"), *(patterns if isinstance(patterns, dict) else ())):
        if isinstance(pattern, str):
            _check_regex(pattern)
    return {
        key: part if key in _VALUES else _checked(part)
        for key, part in schema.items()
        if key != "format" or not isinstance(part, str) or part in _FORMATS
    }


def _check_regex(text: str) -> None:
    limits.check_brackets(text)
    limits.check_repeats(text)


def _gbnf(text: str) -> str:
    limits.check_rules(text)
    _check_regex(text)
    return _lark(lark_of(text))


def _lark(text: str) -> str:
    limits.check_rules(text)
    limits.check_lark_repeats(text)
    _check_regex(text)
    made: str = library().LLMatcher.grammar_from_lark(text)
    return made


def _regex(text: str) -> str:
    _check_regex(text)
    made: str = library().LLMatcher.grammar_from_regex(text)
    return made


_SOURCES: Mapping[str, Callable[[str], str]] = {
    "json_schema": _json_schema,
    "regex": _regex,
    "gbnf": _gbnf,
    "lark": _lark,
}

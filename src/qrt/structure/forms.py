"""What callers may give as `response_format` or `grammar`: the grammar it is, and how an answer
that follows it is read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, get_args, get_origin, is_typeddict

from qrt.errors import InputError
from qrt.runtime.checks import shown
from qrt.runtime.constraint import Grammar

Parse = Callable[[str], Any]
"""The text of a whole answer to what it says. Raises InputError."""

_LARK_MARK: Final = "%llguidance"
_OBJECT: Final = {"type": "object"}
_EXPECTED: Final = (
    '{"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": ...}}, a JSON '
    "schema, or a class of pydantic or msgspec"
)
_KINDS: Final = ("json_schema", "regex", "gbnf", "lark")


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer is held to. parse: None where its text is all there is to it."""

    grammar: Grammar
    parse: Parse | None = None


def form_of(response_format: object, grammar: object) -> Form | None:
    """What the two options of these names ask for; None: nothing. Raises InputError."""
    if grammar is None:
        return None if response_format is None else _formatted(response_format)
    if response_format is not None:
        raise InputError("response_format and grammar are both given; give one of them")
    return Form(_grammar(grammar))


def _formatted(given: object) -> Form | None:
    if not isinstance(given, Mapping):
        return _typed(given)
    kind = given.get("type")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        return schema_form(given)
    schema = given.get("schema")
    if kind == "json_schema" and isinstance(given.get("json_schema"), Mapping):
        schema = given["json_schema"].get("schema")
    if kind == "json_object" and schema is None:
        schema = _OBJECT
    if not isinstance(schema, Mapping | bool):
        raise InputError(f"response_format must hold a JSON schema, got {shown(given)}")
    return schema_form(schema)


def schema_form(schema: Mapping[str, Any] | bool, parse: Parse | None = None) -> Form:
    """JSON that follows a schema, read as plain values unless `parse` does. Raises InputError."""
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"response_format: the schema is no JSON: {error}") from None
    return Form(Grammar("json_schema", text), parse or _json)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"the answer is no JSON: {error}") from None


def _typed(kind: Any) -> Form:
    """JSON that becomes a value of a type, by the library that it comes from."""
    pydantic: Any = sys.modules.get("pydantic")
    msgspec: Any = sys.modules.get("msgspec")
    bases = kind.__mro__ if isinstance(kind, type) else ()
    if pydantic is not None and pydantic.BaseModel in bases:
        return _of_class(kind, kind.model_json_schema, kind.model_validate_json)
    if not (msgspec is not None and msgspec.Struct in bases) and not _is_type(kind):
        raise InputError(f"response_format must be {_EXPECTED}; got {shown(kind)}")
    if msgspec is None and find_spec("msgspec") is None:
        raise InputError(
            f"response_format: {shown(kind)} is read by msgspec, which is not installed; "
            "pip install msgspec, or give a class of pydantic"
        )
    loaded = msgspec or import_module("msgspec")
    return _of_class(
        kind, partial(loaded.json.schema, kind), partial(loaded.json.decode, type=kind)
    )


def _is_type(kind: Any) -> bool:
    """Whether it is a type that is no class of a library's: a dataclass, list[int] ..."""
    if isinstance(kind, type):
        return is_dataclass(kind) or is_typeddict(kind) or kind.__module__ != "builtins"
    return get_origin(kind) is not None and bool(get_args(kind))


def _of_class(kind: Any, schema: Callable[[], Any], read: Parse) -> Form:
    name = getattr(kind, "__name__", shown(kind))
    try:
        made = schema()
    except Exception as error:  # whatever a library says of a class that has no schema
        raise InputError(f"response_format: {name} has no JSON schema: {_line(error)}") from None

    _close(made)
    return schema_form(made, partial(_read, name, read))


def _read(name: str, read: Parse, text: str) -> Any:
    try:
        return read(text)
    except Exception as error:
        raise InputError(f"the answer is no {name}: {_line(error)}") from error


def _close(schema: Any) -> None:
    """Lets objects of a class have its fields alone, where the class says nothing of others, and
    sets, which cannot be enforced, have elements twice."""
    if not isinstance(schema, dict):
        return
    schema.pop("uniqueItems", None)
    if "properties" in schema and "allOf" not in schema:
        schema.setdefault("additionalProperties", False)
    for key in ("properties", "$defs"):
        for part in schema.get(key, {}).values():
            _close(part)
    for key in ("anyOf", "oneOf", "prefixItems"):
        for part in schema.get(key, ()):
            _close(part)
    for key in ("items", "additionalProperties"):
        _close(schema.get(key))


def _grammar(given: object) -> Grammar:
    if isinstance(given, Grammar):
        return given
    if isinstance(given, str):
        return Grammar("lark" if given.lstrip().startswith(_LARK_MARK) else "gbnf", given)
    if isinstance(given, Mapping) and len(given) == 1:
        kind, text = next(iter(given.items()))
        if kind == "json_schema" and isinstance(text, Mapping):
            return schema_form(text).grammar
        if kind in _KINDS and isinstance(text, str):
            return Grammar(kind, text)
    raise InputError(
        "grammar must be a text in GBNF, one in Lark that begins with %llguidance {}, or as in "
        f'{{"regex": "[a-z]+"}} one of {", ".join(_KINDS)}; got {shown(given)}'
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())

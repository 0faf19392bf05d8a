"""Python functions as tools: their schema from signature and docstring, their arguments from JSON.

Types that are known: str, int, float, bool, None, list, tuple, set, dict, Any, unions, Literal,
Enum, Annotated with a description, dataclasses, TypedDict, and classes of pydantic and msgspec.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from qrt.errors import InputError

Function = Callable[..., Any]
Schema = dict[str, Any]

_PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    types.NoneType: {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    dict: {"type": "object"},
    Sequence: {"type": "array"},
    Mapping: {"type": "object"},
    Any: {},
    object: {},
    inspect.Parameter.empty: {},
}
_ARRAYS = (list, tuple, set, frozenset, Sequence)
_MAX_DEPTH = 16
_OF_PARAMETER = re.compile(r"\s*(?::param\s+)?\*{0,2}(\w+)\s*(?:\([^()]*\))?\s*:\s+(\S.*)")


def function_tool(function: Function) -> Schema:
    """A tool in JSON form, as the signature and the docstring of a function have it.

    The docstring's first paragraph says what it does; a line "name: ..." or ":param name: ..." of
    it says what an argument is. Raises InputError for a type that JSON cannot carry.
    """
    where = getattr(function, "__name__", type(function).__name__)
    signature, hints = _signature(function, where)
    described, of_parameters = _described(inspect.getdoc(function) or "", signature.parameters)
    properties: Schema = {}
    required = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise InputError(f"the tool {where} has the positional-only parameter {name}; name it")
        schema = _schema(hints.get(name, Any), f"{where}({name})", 0)
        if name in of_parameters:
            schema = {"description": of_parameters[name], **schema}
        if parameter.default is parameter.empty:
            required.append(name)
        properties[name] = schema
    parameters: Schema = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    body = {"name": where, "description": described, "parameters": parameters}
    return {"type": "function", "function": body}


def bound(function: Function, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `function`, of the types that it asks for. Raises TypeError and
    ValueError."""
    signature, hints = _signature(function, getattr(function, "__name__", "tool"))
    signature.bind(**given)  # which says what is missing or unknown
    return {name: _value(value, hints.get(name, Any), name) for name, value in given.items()}


def _signature(function: Function, where: str) -> tuple[inspect.Signature, Mapping[str, Any]]:
    try:
        hinted = function if inspect.isroutine(function) else type(function).__call__
        return inspect.signature(function), get_type_hints(hinted, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise InputError(f"the signature of the tool {where} cannot be read: {error}") from None


def _described(doc: str, parameters: Mapping[str, inspect.Parameter]) -> tuple[str, dict[str, str]]:
    """(what a docstring says first, what it says of each parameter)."""
    of_parameters: dict[str, str] = {}
    first: list[str] = []
    is_first, last = True, ""
    for line in doc.splitlines():
        found = _OF_PARAMETER.fullmatch(line)
        is_first = is_first and bool(line.strip())
        if found and found[1] in parameters:
            last = found[1]
            of_parameters[last] = found[2].strip()
            is_first = False
        elif is_first:
            first.append(line.strip())
        elif last and line.startswith("    ") and line.strip():
            of_parameters[last] += " " + line.strip()
        else:
            last = ""
    return " ".join(first), of_parameters


def _schema(kind: Any, where: str, depth: int) -> Schema:
    """The JSON schema of a type."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{where}: the type holds itself; JSON arguments cannot")
    arguments = get_args(kind)
    origin = get_origin(kind)
    if origin is typing.Annotated:
        schema = _schema(arguments[0], where, depth + 1)
        text = next((extra for extra in arguments[1:] if isinstance(extra, str)), None)
        return schema if text is None else {"description": text, **schema}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(each, where, depth + 1) for each in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in _ARRAYS:
        items = [each for each in arguments if each is not Ellipsis]
        if not items or len(set(items)) > 1:
            return {"type": "array"}
        return {"type": "array", "items": _schema(items[0], where, depth + 1)}
    if origin in (dict, Mapping):
        return {
            "type": "object",
            "additionalProperties": _schema(arguments[1], where, depth + 1),
        }
    foreign = _of_library(kind)
    if foreign is not None:
        return foreign[0]()
    try:
        return dict(_PLAIN[kind])
    except (KeyError, TypeError):
        return _of_class(kind, where, depth)


def _of_class(kind: Any, where: str, depth: int) -> Schema:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if dataclasses.is_dataclass(kind) or is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        if is_typeddict(kind):
            required = sorted(kind.__required_keys__)
        else:
            missing = dataclasses.MISSING
            required = [
                field.name
                for field in dataclasses.fields(kind)
                if field.init and field.default is missing and field.default_factory is missing
            ]
        return {
            "type": "object",
            "properties": {name: _schema(hint, where, depth + 1) for name, hint in hints.items()},
            **({"required": required} if required else {}),
        }
    raise InputError(
        f"{where} has the type {kind!r}, which JSON arguments cannot have; expected str, int, "
        "float, bool, list, dict, Literal, an Enum, a dataclass or a TypedDict"
    )


def _of_library(kind: Any) -> tuple[Callable[[], Schema], Callable[[Any], Any]] | None:
    """(what makes its schema, what makes an instance) of a class of pydantic or msgspec."""
    if not isinstance(kind, type):
        return None
    pydantic, msgspec = sys.modules.get("pydantic"), sys.modules.get("msgspec")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        model: Any = kind
        return model.model_json_schema, model.model_validate
    if msgspec is not None and issubclass(kind, msgspec.Struct):
        reading: Any = msgspec
        return (
            lambda: reading.json.schema(kind),
            lambda value: reading.convert(value, kind),
        )
    return None


def _value(value: Any, kind: Any, where: str) -> Any:
    """A JSON value as the type that a parameter has; what needs no change stays as it is.

    Raises TypeError and ValueError for one that does not fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _value(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        return _fitting(value, arguments, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {list(arguments)}, got {value!r}")
        return value
    if origin in _ARRAYS or kind in _ARRAYS:
        if not isinstance(value, list):
            raise TypeError(f"{where} must be a list, got {value!r}")
        inner = next((each for each in arguments if each is not Ellipsis), Any)
        if origin is tuple and Ellipsis not in arguments:
            inner = Any
        items = [_value(item, inner, where) for item in value]
        made = origin or kind
        return items if made in (list, Sequence) else made(items)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise TypeError(f"{where} must be an object, got {value!r}")
        return {key: _value(item, arguments[1], where) for key, item in value.items()}
    foreign = _of_library(kind)
    if foreign is not None:
        return foreign[1](value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise TypeError(f"{where} must be an object, got {value!r}")
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{k: _value(v, hints.get(k, Any), f"{where}.{k}") for k, v in value.items()})
    return _plain_value(value, kind, where)


def _plain_value(value: Any, kind: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    wrong = kind in (str, int, float, bool, dict, types.NoneType) and not isinstance(value, kind)
    if wrong or (kind in (int, float) and isinstance(value, bool)):
        raise TypeError(f"{where} must be {kind.__name__}, got {value!r}")
    return value


def _fitting(value: Any, kinds: Sequence[Any], where: str) -> Any:
    """`value` as the first of `kinds` that it fits."""
    refusal: Exception | None = None
    for kind in kinds:
        try:
            return _value(value, kind, where)
        except (TypeError, ValueError) as error:
            refusal = error
    raise refusal or TypeError(f"{where} fits no type")

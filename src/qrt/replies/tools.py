"""Tools as clients state them: JSON of the form that OpenAI's interface has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from typing import Any

from qrt.errors import InputError

ToolChoice = str | Mapping[str, Any]
"""Who chooses the tool: "auto", "none", "required", or the tool itself."""

_MAX_NAME = 256


def schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The schemas of the parameters of tools, by name. Raises InputError."""
    found: dict[str, Mapping[str, Any]] = {}
    for i, tool in enumerate(tools):
        function = function_of(tool, f"tools[{i}]")
        name = function["name"]
        if name in found:
            raise InputError(
                f"tools[{i}] has the name of another, {shown(name)}; give each its own"
            )
        found[name] = function.get("parameters") or {}
    return found


def strict(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of those whose calls must fit their schemas. Raises InputError."""
    functions = [function_of(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    return frozenset(one["name"] for one in functions if one.get("strict") is True)


def function_of(tool: object, where: str) -> Mapping[str, Any]:
    """What a tool says of its function: name, description, parameters. Raises InputError."""
    inner = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(inner, Mapping):
        raise InputError(
            f"{where} is {shown(tool)}; expected "
            "{'type': 'function', 'function': {'name': ..., 'parameters': ...}}"
        )
    name = inner.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise InputError(
            f"{where} has the name {shown(name)}; expected text of up to {_MAX_NAME} characters"
        )
    if not isinstance(inner.get("parameters") or {}, Mapping):
        raise InputError(f"{where}: its parameters are no JSON schema; expected a dict")
    return inner

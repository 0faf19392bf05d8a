"""The tools of a chat: what the model is told of them, and what happens when it calls one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qrt.errors import InputError
from qrt.replies.tools import schemas
from qrt.runtime.checks import shown
from qrt.runtime.records import Plain

if TYPE_CHECKING:
    from qrt.replies import Event

ToolLike = Callable[..., Any] | Mapping[str, Any]
"""A Python function, or a tool in the JSON form of OpenAI's interface."""

_MAX_RESULT = 1 << 20


@dataclass(frozen=True, slots=True)
class ToolCall(Plain):
    """A model's call of a tool."""

    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it; that of an answer that was cut short may be no JSON."""

    @property
    def values(self) -> dict[str, Any]:
        """The arguments by name. Raises InputError for what is no JSON object."""
        try:
            values = json.loads(self.arguments)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise InputError(f"the arguments of {self.name} are no JSON object: {self.arguments}")
        return values

    def message(self) -> dict[str, Any]:
        """The call as it stands in the message of the assistant; what is no JSON is left out."""
        try:
            arguments = json.dumps(self.values, ensure_ascii=False)
        except InputError:
            arguments = "{}"
        function = {"name": self.name, "arguments": arguments}
        return {"id": self.id, "type": "function", "function": function}


def calls_of(events: Iterable[Event]) -> tuple[ToolCall, ...]:
    """The calls that events tell."""
    from qrt.replies import CallArguments, CallBegun

    begun: list[CallBegun] = []
    arguments: list[list[str]] = []
    for event in events:
        if isinstance(event, CallBegun):
            begun.append(event)
            arguments.append([])
        elif isinstance(event, CallArguments):
            arguments[event.index].append(event.text)
    return tuple(
        ToolCall(call.id, call.name, "".join(pieces))
        for call, pieces in zip(begun, arguments, strict=True)
    )


class Toolbox:
    """Tools, each a function or only told to the model."""

    def __init__(self, tools: Iterable[ToolLike]) -> None:
        """Raises InputError for a tool that is malformed, or has the name of another."""
        if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Iterable):
            raise InputError(f"tools must be a list of functions and dicts, got {shown(tools)}")
        self.stated: list[Mapping[str, Any]] = []
        """In JSON form."""
        self._functions: dict[str, Callable[..., Any]] = {}
        for tool in tools:
            if isinstance(tool, Mapping):
                self.stated.append(tool)
            elif callable(tool):
                from qrt.api.functions import function_tool

                stated = function_tool(tool)
                self.stated.append(stated)
                self._functions[stated["function"]["name"]] = tool
            else:
                raise InputError(f"a tool is a function or a dict, got {shown(tool)}")
        told = schemas(self.stated).keys() - self._functions.keys()
        self.told_only = min(told, default=None)
        """The name of a tool that is no function."""

    def run(self, call: ToolCall) -> str:
        """The result of a call as text; of one that fails, what went wrong."""
        from qrt.api.functions import bound

        try:
            function = self._functions[call.name]
            result = function(**bound(function, call.values))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("it is asynchronous; await achat, which runs it")
            return _text(result)
        except Exception as error:
            return _failure(error)

    async def arun(self, call: ToolCall) -> str:
        """`run` for an event loop: a coroutine is awaited, any other function has a thread."""
        import asyncio

        from qrt.api.functions import bound

        function = self._functions.get(call.name)
        if not inspect.iscoroutinefunction(function):
            return await asyncio.to_thread(self.run, call)
        try:
            return _text(await function(**bound(function, call.values)))
        except Exception as error:
            return _failure(error)


def _text(result: object) -> str:
    if not isinstance(result, str):
        result = json.dumps(result, ensure_ascii=False, default=str)
    text = str(result)
    if len(text) > _MAX_RESULT:
        raise ValueError(f"its result has {len(text)} characters, at most {_MAX_RESULT} may be")
    return text


def _failure(error: Exception) -> str:
    """What the model is told of a call that failed."""
    return f"error: {type(error).__name__}: {error}"

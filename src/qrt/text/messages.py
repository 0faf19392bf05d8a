"""Checks chat messages and brings them into the form that templates expect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from typing import Any

from qrt.errors import InputError

ROLES = ("system", "developer", "user", "assistant", "tool")
_TEXT_KEYS = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")
_KEYS = ("role", "content", "tool_calls", *_TEXT_KEYS)
_MAX_DEPTH = 64
_MAX_INT_BITS = 1024
_MAX_LINE = 300

Message = dict[str, object]


def checked_messages(messages: object) -> list[Message]:
    """`messages` with text contents and parsed tool arguments. Raises InputError."""
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise InputError("messages must be a list of {'role': ..., 'content': ...}")
    if not messages:
        raise InputError("messages is empty; give at least one message")
    return [_checked_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _checked_message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise InputError(f"{where} is {type(message).__name__}; expected a dict")
    unknown = [key for key in message if key not in _KEYS and message[key]]
    if unknown:
        raise InputError(
            f"{where} has the unknown key {shown(unknown[0])}; known are {', '.join(_KEYS)}"
        )
    role = message.get("role")
    if role not in ROLES:
        raise InputError(f"{where}['role'] is {shown(role)}; expected one of {', '.join(ROLES)}")
    checked: Message = {"role": role, "content": _text(message, f"{where}['content']")}
    for key in _TEXT_KEYS:
        value = message.get(key)
        if value is not None:
            if not isinstance(value, str):
                raise InputError(f"{where}[{key!r}] is {type(value).__name__}; expected text")
            checked[key] = value
    if message.get("tool_calls"):
        checked["tool_calls"] = _tool_calls(message["tool_calls"], f"{where}['tool_calls']")
    return checked


def _text(message: Mapping[str, object], where: str) -> str | None:
    content = message.get("content")
    if isinstance(content, str) or (content is None and message.get("tool_calls")):
        return content
    if isinstance(content, Sequence) and not content and message.get("tool_calls"):
        return None
    if isinstance(content, Sequence) and content:
        return "\n".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))
    raise InputError(f"{where} is {type(content).__name__}; expected text or a list of text parts")


def _part(part: object, where: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise InputError(f"{where} is not a text part; expected {{'type': 'text', 'text': ...}}")
    return text


def _tool_calls(calls: object, where: str) -> object:
    calls = plain(calls, where)
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise InputError(f"{where} must be a list of dicts")
    calls = [{key: value for key, value in call.items() if value is not None} for call in calls]
    for call in calls:
        function = call.get("function", call)
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            try:
                arguments = json.loads(function["arguments"])
            except (ValueError, RecursionError):
                raise InputError(f"{where}: the arguments are not valid JSON") from None
            function["arguments"] = plain(arguments, f"{where}: the arguments")
    return calls


def plain(value: object, where: str, depth: int = 0) -> object:
    """A copy of `value` in JSON types alone. Raises InputError for anything else."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{where} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        raise InputError(f"{where} has a number of more than {_MAX_INT_BITS} bits")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InputError(f"{where} has a key that is not text")
        return {key: plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item, where, depth + 1) for item in value]
    raise InputError(f"{where} is {type(value).__name__}; expected text, numbers, lists and dicts")


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """The system messages put before the text of the first user message."""
    system = [str(m["content"] or "") for m in messages if m["role"] in ("system", "developer")]
    rest = [dict(m) for m in messages if m["role"] not in ("system", "developer")]
    first = next((m for m in rest if m["role"] == "user"), None)
    if first is None:
        first = {"role": "user", "content": ""}
        rest.insert(0, first)
    first["content"] = "\n\n".join(text for text in (*system, str(first["content"] or "")) if text)
    return rest


def with_text_arguments(messages: Sequence[Message]) -> list[Message]:
    """The arguments of tool calls as JSON text, which some templates expect."""
    changed = [dict(m) for m in messages]
    for message in changed:
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message["tool_calls"] = [_with_text_arguments(call) for call in calls]
    return changed


def _with_text_arguments(call: dict[str, object]) -> dict[str, object]:
    if isinstance(call.get("function"), dict):
        function = call["function"]
        assert isinstance(function, dict)
        return {**call, "function": _with_text_arguments(function)}
    if "arguments" in call:
        return {**call, "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
    return call


def has_all_ids(messages: Sequence[Message]) -> bool:
    """Whether each call has an id."""
    return all("id" in call for message in messages for call in _calls(message))


def with_ids(messages: Sequence[Message]) -> list[Message]:
    """Calls that have no id, and results in their order, get one, as some templates demand."""
    changed: list[Message] = []
    waiting: list[object] = []
    n_calls = 0
    for message in messages:
        calls = []
        for call in _calls(message):
            n_calls += 1
            calls.append({"id": f"call{n_calls:05}", **call})
            waiting.append(calls[-1]["id"])
        if calls:
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool" and waiting:
            message = {"tool_call_id": waiting.pop(0), **message}
        changed.append(message)
    return changed


def with_tool_responses(messages: Sequence[Message]) -> list[Message]:
    """Results of calls within the message that called, which some templates expect."""
    changed: list[Message] = []
    for message in messages:
        calls = _calls(changed[-1]) if changed else []
        if message["role"] != "tool" or not calls:
            changed.append(message)
            continue
        responses = changed[-1].get("tool_responses", [])
        assert isinstance(responses, list)
        by_id = {call["id"]: call for call in calls if "id" in call}
        call = by_id.get(message.get("tool_call_id"), calls[min(len(responses), len(calls) - 1)])
        name = message.get("name") or call.get("function", call).get("name")
        response = {"name": name, "response": message["content"] or ""}
        changed[-1] = {**changed[-1], "tool_responses": [*responses, response]}
    return changed


def _calls(message: Message) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return calls if isinstance(calls, list) else []


def one_line(text: str) -> str:
    """`text` as the one short, printable line that fits an error."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_MAX_LINE]).split())
    return line if len(text) <= _MAX_LINE else line + "..."

"""The messages of chat requests as chat templates take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qrt.server.errors import RefusedError

_KEYS = (
    *("role", "content", "tool_calls", "name", "tool_call_id"),
    *("reasoning_content", "reasoning", "thinking"),
)
_ROLES = {"function": "tool"}
_TEXTS = ("text", "input_text", "output_text", "refusal")
MAX_MESSAGES = 10_000


def tidied(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages with what templates know of them, the texts of their parts joined.

    What clients send back of an answer (refusal, annotations, audio ...) is left out. Raises
    RefusedError for what is not text.
    """
    if not messages:
        raise RefusedError(400, "messages is empty; give at least one message", param="messages")
    if len(messages) > MAX_MESSAGES:
        raise RefusedError(400, f"messages holds more than {MAX_MESSAGES}", param="messages")
    return [_tidied(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _tidied(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    tidy = {key: message[key] for key in _KEYS if message.get(key) is not None}
    role = tidy.get("role")
    if isinstance(role, str):
        tidy["role"] = _ROLES.get(role, role)
    calls = tidy.get("tool_calls")
    if isinstance(calls, list):
        tidy["tool_calls"] = [_with_arguments(call) for call in calls]
    tidy["content"] = text_of(message.get("content"), f"{where}.content")
    if not tidy["content"] and tidy.get("tool_calls"):
        tidy["content"] = None
    return tidy


def _with_arguments(call: Any) -> Any:
    """A call without arguments has an empty object of them."""
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(function, dict) and function.get("arguments") in ("", None):
        return {**call, "function": {**function, "arguments": {}}}
    return call


def text_of(content: object, where: str) -> str:
    """The text of a message's content: a string, parts, or nothing. Raises RefusedError."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RefusedError(400, f"{where}: expected text or a list of parts", param="messages")
    return "\n".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get(kind if kind == "refusal" else "text") if isinstance(part, dict) else None
    if kind in _TEXTS and isinstance(text, str):
        return text
    what = f"parts of type {kind[:40]!r}" if isinstance(kind, str) else "parts without a type"
    raise RefusedError(400, f"{where}: {what} are not understood; send text", param="messages")

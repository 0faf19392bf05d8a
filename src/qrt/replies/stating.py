"""How tools, calls and their results are put to a model: as its chat template has them, or as text
where that knows of none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from qrt.replies.forms import knows_tools
from qrt.replies.tools import function_of

Message = Mapping[str, Any]

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_STATED = """\
You can call tools. Each line here describes one: its name, what it does, and the JSON schema of \
its arguments.
{tools}

To call a tool, answer with its name and arguments as JSON between two tags, for each call:
<tool_call>
{{"name": "NAME", "arguments": {{"KEY": VALUE}}}}
</tool_call>
Write nothing behind the last call; the results will follow between <tool_response> tags. Where no \
tool is of use, answer in plain text."""


def with_tools(
    template_source: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Message], dict[str, Any]]:
    """(messages, variables of the chat template) that offer `tools` in a conversation.

    A template that knows no tools gets them as a system message, and earlier calls and their
    results as text. Raises InputError for a malformed tool.
    """
    offered = [_whole(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    if knows_tools(template_source):
        return messages, {"tools": offered} if offered else {}
    told = _told(messages)
    if not offered:
        return told, {}
    lines = (json.dumps(tool["function"], ensure_ascii=False) for tool in offered)
    stated = _STATED.format(tools="\n".join(lines))
    first = told[0] if told else {}
    if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
        return [{**first, "content": f"{stated}\n\n{first['content']}"}, *told[1:]], {}
    return [{"role": "system", "content": stated}, *told], {}


def _whole(tool: object, where: str) -> dict[str, Any]:
    """A tool with all that templates ask of it; how strict it is, no model was taught to read."""
    function = {k: v for k, v in function_of(tool, where).items() if k != "strict"}
    return {
        "type": "function",
        "function": {
            **function,
            "description": function.get("description") or "",
            "parameters": function.get("parameters") or _NO_PARAMETERS,
        },
    }


def _told(messages: Sequence[Message]) -> list[Message]:
    """Messages whose calls and results are text."""
    told: list[Message] = []
    for message in messages:
        if not isinstance(message, Mapping):
            told.append(message)  # which the template refuses
        elif message.get("role") == "tool":
            text = f"<tool_response>\n{_text(message)}\n</tool_response>"
            last = told[-1] if told else {}
            if last.get("tool_results"):
                told[-1] = {**last, "content": f"{last['content']}\n{text}"}
            else:
                told.append({"role": "user", "content": text, "tool_results": True})
        elif isinstance(message.get("tool_calls"), Sequence) and message["tool_calls"]:
            parts = [_text(message), *map(_call, message["tool_calls"])]
            kept = {key: value for key, value in message.items() if key != "tool_calls"}
            told.append({**kept, "content": "\n".join(filter(None, parts))})
        else:
            told.append(message)
    return [
        {key: value for key, value in message.items() if key != "tool_results"}
        if isinstance(message, Mapping)
        else message
        for message in told
    ]


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    parts = content if isinstance(content, Sequence) else ()
    return "\n".join(str(p["text"]) for p in parts if isinstance(p, Mapping) and "text" in p)


def _call(call: object) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return ""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    told = {"name": function.get("name"), "arguments": arguments or {}}
    return f"<tool_call>\n{json.dumps(told, ensure_ascii=False)}\n</tool_call>"

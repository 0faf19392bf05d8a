"""What the Messages API is sent, and the same as messages and tools of a chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from qrt.errors import InputError
from qrt.replies import template_vars
from qrt.server.fields import Count

_ACCOUNTING = re.compile(r"x-anthropic-billing-header:[^\n]*\n*")
"""Begins the system text of some clients and differs in every call, so that no stored prefix of
a prompt would fit; it is not meant for the model."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Text(Struct, tag_field="type", tag="text"):
    """A text."""

    text: str


class Thinking(Struct, tag_field="type", tag="thinking"):
    """What the model thought before it answered."""

    thinking: str = ""


class RedactedThinking(Struct, tag_field="type", tag="redacted_thinking"):
    """Thoughts of another model's that nobody may read."""


class ToolUse(Struct, tag_field="type", tag="tool_use"):
    """A call of a tool by the model."""

    id: str
    name: Name
    input: dict[str, Any] = {}


class Image(Struct, tag_field="type", tag="image"):
    """A picture."""


class Document(Struct, tag_field="type", tag="document"):
    """A file; of its kinds of sources plain text can be read."""

    source: dict[str, Any]
    title: str | None = None


class ToolResult(Struct, tag_field="type", tag="tool_result"):
    """What a tool gave."""

    tool_use_id: str
    content: str | list[Text | Image | Document] | None = None


Block = Text | Thinking | RedactedThinking | ToolUse | ToolResult | Image | Document


class Turn(Struct):
    """A message."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Tool(Struct):
    """A function that the model may call; those that a provider runs have no schema."""

    name: Name
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct):
    """Whether tools may, must or must not be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingMode(Struct):
    """Whether the model thinks first."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Count | None = None


class Format(Struct, rename={"json_schema": "schema"}):
    """What the answer must look like."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any]


class Output(Struct):
    """How to answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class Prompt(Struct, kw_only=True):
    """The body of /v1/messages/count_tokens: a conversation and what else the template sees."""

    messages: list[Turn]
    model: str | None = None
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingMode | None = None
    output_config: Output | None = None
    output_format: Format | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class Messages(Prompt, kw_only=True):
    """The body of /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


def chat_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The conversation for a chat template. Raises InputError for what is not text."""
    messages: list[dict[str, Any]] = []
    if system := _system_text(prompt.system):
        messages.append({"role": "system", "content": system})
    for number, turn in enumerate(prompt.messages):
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        else:
            messages += _of_blocks(turn.role, turn.content, f"messages[{number}].content")
    return messages


def functions(prompt: Prompt) -> list[dict[str, Any]]:
    """The tools in OpenAI's form. Raises InputError for one without a schema."""
    for tool in prompt.tools or ():
        if tool.input_schema is None:
            raise InputError(f"tools: {tool.name!r} has no input_schema; qrt runs no tools itself")
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.input_schema,
                "strict": tool.strict is True,
            },
        }
        for tool in prompt.tools or ()
    ]


def variables(prompt: Prompt, template: str) -> dict[str, Any]:
    """What a template is told of thinking and effort, and all that the request tells it itself."""
    think = None if prompt.thinking is None else prompt.thinking.type != "disabled"
    effort = None if prompt.output_config is None else prompt.output_config.effort
    return {**template_vars(template, think, effort), **(prompt.chat_template_kwargs or {})}


def answer_schema(prompt: Prompt) -> dict[str, Any] | None:
    """The JSON schema that the answer must fit, if one is given."""
    given = prompt.output_format
    if prompt.output_config is not None and prompt.output_config.format is not None:
        given = prompt.output_config.format
    return given.json_schema if given is not None else None


def _system_text(system: str | list[Text] | None) -> str:
    texts = [system] if isinstance(system, str) else [block.text for block in system or ()]
    kept = (
        _ACCOUNTING.sub("", text, count=1) if _ACCOUNTING.match(text) else text for text in texts
    )
    return "\n".join(text for text in kept if text)


def _of_blocks(role: str, blocks: Sequence[Block], where: str) -> list[dict[str, Any]]:
    """The messages that one of blocks stands for: results of tools have one each, before what else
    its author says."""
    results: list[dict[str, Any]] = []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        match block:
            case ToolResult(tool_use_id, content):
                text = _result_text(content, f"{where}[{number}]")
                results.append({"role": "tool", "tool_call_id": tool_use_id, "content": text})
            case ToolUse(call_id, name, arguments):
                function = {"name": name, "arguments": arguments}
                calls.append({"id": call_id, "type": "function", "function": function})
            case Thinking(thought):
                thoughts.append(thought)
            case RedactedThinking():
                pass
            case _:
                texts.append(_text(block, f"{where}[{number}]"))
    said: dict[str, Any] = {"role": role, "content": "\n".join(texts)}
    if thoughts:
        said["reasoning_content"] = "\n".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if texts or thoughts or calls or not results else results


def _result_text(content: str | list[Text | Image | Document] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_text(part, f"{where}.content[{i}]") for i, part in enumerate(content))


def _text(block: Text | Image | Document, where: str) -> str:
    if isinstance(block, Text):
        return block.text
    data = block.source.get("data") if isinstance(block, Document) else None
    if isinstance(block, Document) and block.source.get("type") == "text" and isinstance(data, str):
        return f"{block.title}\n{data}" if block.title else data
    kind = "an image" if isinstance(block, Image) else "a document that is not plain text"
    raise InputError(f"{where} is {kind}; the models that qrt runs read text alone")

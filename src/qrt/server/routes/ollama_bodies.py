"""What Ollama's API is sent, and the same in the words of this library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from qrt.errors import InputError
from qrt.replies import template_vars

_OPTIONS = {
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
    "stop": "stop",
    "seed": "seed",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
"""Ollama's names of options, and ours. Others say how a model is loaded, which was done when the
server was started, or mean nothing any more."""
_INTS = {"num_predict", "num_keep", "seed", "top_k", "repeat_last_n", "mirostat"}
_NO_LIMIT = {"num_predict": (-1, -2), "seed": (-1,)}
"""Values that stand for none."""

Name = Annotated[str, Meta(min_length=1, max_length=512)]


class Function(Struct):
    """What is called."""

    name: str
    arguments: dict[str, Any] = {}


class Call(Struct):
    """A call of a tool by the model."""

    function: Function
    id: str | None = None


class Message(Struct):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Asked(Struct, kw_only=True):
    """What all ways to generate share.

    format: "json", or a JSON schema. think: whether to think first, or how hard. keep_alive: how
    long the model stays loaded afterwards, in seconds or as "5m"; below 0 for ever.
    """

    model: Name
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class Chat(Asked, kw_only=True):
    """The body of /api/chat; without messages it loads the model, or with keep_alive 0 unloads."""

    messages: list[Message] = []
    tools: list[dict[str, Any]] | None = None


class Generate(Asked, kw_only=True):
    """The body of /api/generate; without a prompt as for a chat."""

    prompt: str = ""
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[str] | None = None
    raw: bool | None = None


def generate_options(asked: Asked) -> dict[str, Any]:
    """Its options as keywords of `generate`. Raises InputError for values of other types."""
    options: dict[str, Any] = {}
    for name, value in (asked.options or {}).items():
        if name not in _OPTIONS or value is None or value in _NO_LIMIT.get(name, ()):
            continue
        if name in _INTS and isinstance(value, float) and value.is_integer():
            value = int(value)
        options[_OPTIONS[name]] = value
    if isinstance(options.get("max_tokens"), int) and options["max_tokens"] < 1:
        raise InputError(
            f"options.num_predict must be at least 1, or -1, got {options['max_tokens']}"
        )
    if asked.logprobs:
        options["logprobs"] = asked.top_logprobs or 0
    return options


def chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation for a chat template. Raises InputError for pictures."""
    return [_chat_message(message, number) for number, message in enumerate(messages)]


def variables(asked: Asked, template: str) -> dict[str, Any]:
    """What a template is told of thinking."""
    if isinstance(asked.think, str):
        return template_vars(template, reasoning_effort=asked.think)
    return template_vars(template, asked.think)


def answer_schema(asked: Asked) -> Mapping[str, Any] | None:
    """The JSON schema that the answer must fit, if one is asked for. Raises InputError."""
    if not asked.format:
        return None
    if isinstance(asked.format, str):
        if asked.format != "json":
            raise InputError(f'format must be "json" or a JSON schema, got {asked.format[:40]!r}')
        return {"type": "object"}
    return asked.format


def _chat_message(message: Message, number: int) -> dict[str, Any]:
    if message.images:
        raise InputError(f"messages[{number}].images: the models that qrt runs read text alone")
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        plain["reasoning_content"] = message.thinking
    if message.tool_name:
        plain["name"] = message.tool_name
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id or f"call_{number}_{place}",
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for place, call in enumerate(message.tool_calls)
        ]
    return plain

"""POST /v1/messages and its count_tokens: Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from qrt.errors import InputError
from qrt.server.answers import Answer, Asked, Chat, asked_chat
from qrt.server.errors import ANTHROPIC
from qrt.server.fields import paced
from qrt.server.openai import new_id
from qrt.server.routes.anthropic_blocks import Blocks
from qrt.server.routes.anthropic_bodies import (
    Messages,
    Prompt,
    answer_schema,
    chat_messages,
    functions,
    variables,
)
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, json_response, sse

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class _Events(EventStream):
    """Events of the kind that clients of this API know, pings among them."""

    ping = sse({"type": "ping"}, "ping")


async def messages(request: Request[Messages]) -> Response:
    """Answers a conversation."""
    body = request.body
    served = await request.acquire(body.model)
    asked = await asked_chat(
        request, served, _chat(body, _keywords(body), served.model.chat_template.source)
    )
    said = _Said(Answer(asked))
    if body.stream:
        return _Events(request, said.stream())
    async with aclosing(said.events()) as events:
        async for _ in events:
            pass
    return json_response(said.message())


async def count_tokens(request: Request[Prompt]) -> Response:
    """Counts the tokens of a prompt."""
    served = await request.acquire(request.body.model)
    template = served.model.chat_template.source
    asked = await asked_chat(request, served, _chat(request.body, {}, template))
    return json_response({"input_tokens": len(asked.tokens)})


def _keywords(body: Messages) -> Any:
    given: dict[str, Any] = {
        "max_tokens": body.max_tokens,
        "stop": [text for text in body.stop_sequences or () if text] or None,
        "temperature": body.temperature,
        "top_k": body.top_k,
        "top_p": body.top_p,
    }
    keywords: Any = {name: value for name, value in given.items() if value is not None}
    if body.thinking is not None and body.thinking.type == "enabled":
        keywords = paced(keywords, body.thinking.budget_tokens)
    schema = answer_schema(body)
    if schema is not None:
        keywords["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    return keywords


def _chat(body: Prompt, keywords: Any, template: str) -> Chat:
    choice = body.tool_choice
    wanted: str | dict[str, Any] = "auto"
    if choice is not None and choice.type == "tool":
        if choice.name is None:
            raise InputError("tool_choice.name: the name of the tool is required")
        wanted = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        wanted = _CHOICES[choice.type]
    conversation = chat_messages(body)
    last = conversation[-1] if len(conversation) > 1 else {}
    return Chat(
        messages=conversation,
        continued=last.get("role") == "assistant" and "tool_calls" not in last,
        keywords=keywords,
        tools=functions(body),
        tool_choice=wanted,
        parallel_tool_calls=not (choice is not None and choice.disable_parallel_tool_use),
        template_vars=variables(body, template),
    )


class _Said:
    """An answer as it is said, in blocks."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._blocks = Blocks()
        self._stop_string = ""
        self._id = new_id("msg_")

    @property
    def _asked(self) -> Asked:
        return self._answer.asked

    async def events(self) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The events of all blocks, in lists of those that come at once."""
        async with aclosing(self._answer.pieces()) as batches:
            async for pieces in batches:
                self._stop_string = pieces[-1].record.stop_string
                pushed = (self._blocks.push(event) for _, events in pieces for event in events)
                yield [told for one in pushed for told in one]
        yield list(self._blocks.close())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """All events of a stream. It begins with the answer: until then it may fail like any other
        request."""
        start = _sse({"type": "message_start", "message": self._begun()})
        async with aclosing(self.events()) as batches:
            async for events in batches:
                yield start + b"".join(map(_sse, events))
                start = b""
        if start:
            yield start
        yield _sse({"type": "message_delta", "delta": self._ending(), "usage": self._usage()})
        yield _sse({"type": "message_stop"})

    def message(self) -> dict[str, Any]:
        """The whole message, once all events were given."""
        return self._begun() | {
            "content": self._blocks.content,
            "usage": self._usage(),
            **self._ending(),
        }

    def _begun(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._asked.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(len(self._asked.tokens), 0, 0),
        }

    def _ending(self) -> dict[str, Any]:
        reason = _REASONS[self._answer.finish_reason]
        if self._stop_string and reason == "end_turn":
            reason = "stop_sequence"
        return {"stop_reason": reason, "stop_sequence": self._stop_string or None}

    def _usage(self) -> dict[str, int]:
        n_cached = self._answer.timings.n_cached_tokens
        return _usage(len(self._asked.tokens) - n_cached, n_cached, self._answer.n_tokens)


def _usage(n_input: int, n_cached: int, n_output: int) -> dict[str, int]:
    return {
        "input_tokens": n_input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": n_cached,
        "output_tokens": n_output,
    }


def _sse(event: dict[str, Any]) -> bytes:
    return sse(event, event["type"])


_POST = ("POST",)
ROUTES = (
    Route(_POST, "/v1/messages", messages, Messages, ANTHROPIC, summary="Answer a conversation"),
    Route(
        *(_POST, "/v1/messages/count_tokens", count_tokens, Prompt, ANTHROPIC),
        summary="Count the tokens of a conversation",
    ),
)

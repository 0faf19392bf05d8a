"""POST /api/chat and /api/generate: answers in Ollama's form, whole or a line for each piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from qrt.errors import InputError
from qrt.server import answers
from qrt.server.answers import Answer, asked_chat, asked_text
from qrt.server.errors import OLLAMA
from qrt.server.keep_alive import kept_s
from qrt.server.models import Served
from qrt.server.routes.native_infill import infill_tokens
from qrt.server.routes.ollama_bodies import (
    Asked,
    Chat,
    Generate,
    answer_schema,
    chat_messages,
    generate_options,
    variables,
)
from qrt.server.routes.ollama_parts import Chatted, Generated, Parts, stamp
from qrt.server.routing import Request, Route
from qrt.server.stream import Lines, encode, json_response

_INFILL_SHARE = 4
"""Of the context, a quarter is left for what is filled in where the request names no limit."""


async def chat(request: Request[Chat]) -> Response:
    """Answers a conversation; one without messages only loads the model."""
    body = request.body
    served = await request.acquire(body.model, kept_s(body.keep_alive))
    if not body.messages:
        return _loaded(body, {"message": {"role": "assistant", "content": ""}})
    conversation = chat_messages(body.messages)
    last = conversation[-1] if len(conversation) > 1 else {}
    asked = await asked_chat(
        request,
        served,
        answers.Chat(
            messages=conversation,
            keywords=_keywords(body),
            tools=body.tools or (),
            template_vars=variables(body, served.model.chat_template.source),
            continued=last.get("role") == "assistant" and "tool_calls" not in last,
        ),
    )
    return await _answered(request, Answer(asked), Chatted(body))


async def generate(request: Request[Generate]) -> Response:
    """Continues or answers a text, or fills a gap; without one it only loads the model."""
    body = request.body
    served = await request.acquire(body.model, kept_s(body.keep_alive))
    if body.images:
        raise InputError("images: the models that qrt runs read text alone")
    if body.context:
        raise InputError("context: what was said before is sent to /api/chat, as messages")
    if body.template:
        raise InputError("template: the model's own is used; send raw: true with a whole prompt")
    if not body.prompt and not body.suffix:
        return _loaded(body, {"response": ""})
    keywords: Any = _keywords(body)
    if body.suffix:
        tokens = await asyncio.to_thread(_infill, served, body, keywords)
        asked = await asked_text(request, served, tokens, keywords)
    elif body.raw:
        tokens = await asyncio.to_thread(
            served.model.tokenizer.tokenize, body.prompt, parse_special=True
        )
        asked = await asked_text(request, served, tokens, keywords)
    else:
        messages = [{"role": "user", "content": body.prompt}]
        if body.system:
            messages.insert(0, {"role": "system", "content": body.system})
        conversation = answers.Chat(
            messages=messages,
            keywords=keywords,
            template_vars=variables(body, served.model.chat_template.source),
        )
        asked = await asked_chat(request, served, conversation)
    return await _answered(request, Answer(asked), Generated(body))


def _infill(served: Served, body: Generate, keywords: dict[str, Any]) -> list[int]:
    n_ctx = served.model.info.n_ctx
    reserved = min(keywords.get("max_tokens", n_ctx // _INFILL_SHARE), n_ctx // 2)
    return infill_tokens(
        served.model.tokenizer, body.prompt, body.suffix or "", room=n_ctx - 1 - reserved
    )


def _keywords(body: Asked) -> Any:
    keywords = generate_options(body)
    schema = answer_schema(body)
    if schema is not None:
        keywords["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    return keywords


def _loaded(body: Asked, said: dict[str, Any]) -> Response:
    reason = "unload" if kept_s(body.keep_alive) == 0 else "load"
    return json_response(
        {"model": body.model, "created_at": stamp(), **said, "done": True, "done_reason": reason}
    )


async def _answered(request: Request[Any], answer: Answer, parts: Parts) -> Response:
    body: Asked = request.body
    if body.stream is False:
        async with aclosing(answer.pieces()) as batches:
            async for pieces in batches:
                for piece in pieces:
                    parts.push(answer, piece)
        return json_response(parts.whole(answer, request.started))
    return Lines(request, _lines(request.started, answer, parts))


async def _lines(started: float, answer: Answer, parts: Parts) -> AsyncGenerator[bytes, None]:
    async with aclosing(answer.pieces()) as batches:
        async for pieces in batches:
            told = (part for piece in pieces for part in parts.push(answer, piece))
            yield b"".join(encode(part) + b"\n" for part in told)
    yield encode(parts.end(answer, started)) + b"\n"


_POST = ("POST",)
ROUTES = (
    Route(_POST, "/api/chat", chat, Chat, OLLAMA, summary="Answer a conversation"),
    Route(_POST, "/api/generate", generate, Generate, OLLAMA, summary="Answer or continue a text"),
)

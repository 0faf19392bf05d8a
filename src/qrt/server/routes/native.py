"""POST /completion and /infill: what continues a text, in llama-server's own form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from qrt.server.answers import Answer, asked_text
from qrt.server.errors import NATIVE, RefusedError
from qrt.server.models import Served
from qrt.server.openai import n_choices
from qrt.server.routes.native_bodies import (
    Completion,
    Infill,
    Sampled,
    generate_keywords,
    is_one,
    prompts,
)
from qrt.server.routes.native_infill import infill_tokens
from qrt.server.routes.native_results import Result, chosen
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, json_response, sse
from qrt.server.wholes import Whole, all_whole, side_by_side

_MAX_PROMPTS = 64
_INFILL_SHARE = 4
"""Of the context, a quarter is left for what is filled in where the request names no limit."""


async def complete(request: Request[Completion]) -> Response:
    """Continues texts."""
    body = request.body
    served = await request.acquire(body.model)
    tokens = await asyncio.to_thread(prompts, body, served.model.tokenizer)
    if len(tokens) > _MAX_PROMPTS:
        raise RefusedError(400, f"prompt: at most {_MAX_PROMPTS} at once, got {len(tokens)}")
    return await _answered(request, served, tokens, is_one(body.prompt))


async def infill(request: Request[Infill]) -> Response:
    """Fills a gap in a text."""
    body = request.body
    served = await request.acquire(body.model)
    n_ctx = served.model.info.n_ctx
    n_most = body.n_most
    reserved = n_ctx // _INFILL_SHARE if n_most is None else min(n_most, n_ctx // 2)
    tokens = await asyncio.to_thread(
        infill_tokens,
        served.model.tokenizer,
        body.input_prefix + body.prompt,
        body.input_suffix,
        extra=body.input_extra,
        room=n_ctx - 1 - reserved,
    )
    return await _answered(request, served, [tokens], True)


async def _answered(
    request: Request[Any], served: Served, prompts: list[list[int]], is_alone: bool
) -> Response:
    body: Sampled = request.body
    n_each = n_choices(body.n_cmpl, request.config.max_choices, "n_cmpl")
    keywords = generate_keywords(body, served.model.tokenizer)
    asked = [await asked_text(request, served, tokens, keywords) for tokens in prompts]
    tells = bool(body.stream and body.return_progress)
    results = [
        Result(body, Answer(one, i, tells_prompt=tells), number * n_each + i)
        for number, one in enumerate(asked)
        for i in range(n_each)
    ]
    if body.stream:
        return EventStream(request, _events(results))
    done = await all_whole([result.answer for result in results])
    told = [_whole(result, one) for result, one in zip(results, done, strict=True)]
    return json_response(told[0] if is_alone and len(told) == 1 else told)


def _whole(result: Result, done: Whole) -> dict[str, Any]:
    for record in done.records:
        result.take(record)
    return chosen(result.whole(), result.body.response_fields)


async def _events(results: list[Result]) -> AsyncGenerator[bytes, None]:
    async with aclosing(side_by_side([_of_one(result) for result in results])) as events:
        async for event in events:
            yield event


async def _of_one(result: Result) -> AsyncGenerator[bytes, None]:
    async with aclosing(result.answer.progress()) as progress:
        async for so_far in progress:
            yield sse(result.so_far(so_far))
    async with aclosing(result.answer.pieces()) as batches:
        async for pieces in batches:
            told = []
            for record, _ in pieces:
                result.take(record)
                if (part := result.part()) is not None:
                    told.append(sse(part))
            yield b"".join(told)
    yield sse(chosen(result.whole(), result.body.response_fields))


_POST = ("POST",)
ROUTES = (
    *Route(*(_POST, "/completion", complete, Completion, NATIVE), summary="Continue a text").at(
        "/completions"
    ),
    Route(_POST, "/infill", infill, Infill, NATIVE, summary="Fill a gap in a text"),
)

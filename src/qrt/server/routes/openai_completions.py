"""POST /v1/completions: what continues a text, whole or as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from qrt.server.answers import (
    Answer,
    Asked,
    all_whole,
    asked_text,
    side_by_side,
    timings_of,
)
from qrt.server.errors import RefusedError
from qrt.server.fields import Count, SamplingFields, keywords_of, limited
from qrt.server.models import Served
from qrt.server.openai import (
    DONE,
    FINGERPRINT,
    StreamOptions,
    ending,
    n_choices,
    new_id,
    now,
    usage_of,
)
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, json_response, sse

_MAX_PROMPTS = 64
_DEFAULT_TOKENS = 16


class CompletionBody(SamplingFields, kw_only=True):
    """A request for what continues one text or several."""

    prompt: str | list[Any]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    best_of: int | None = None
    max_tokens: Count | None = None
    n_predict: Count | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    response_format: dict[str, Any] | None = None


async def complete(request: Request[CompletionBody]) -> Response:
    """Continues texts."""
    body = request.body
    if body.suffix:
        raise RefusedError(
            400, "suffix is not understood here; POST /infill fills in", param="suffix"
        )
    n = n_choices(body.n, request.config.max_choices)
    if n_choices(body.best_of, request.config.max_choices, "best_of") > n:
        raise RefusedError(400, "best_of must not be more than n", param="best_of")
    served = await request.acquire(body.model)
    keywords = _keywords(body, served)
    asked = [
        await asked_text(request, served, prompt, keywords) for prompt in _prompts(body.prompt)
    ]
    answers = [Answer(one, i) for one in asked for i in range(n)]
    if body.stream:
        return EventStream(request, _chunks(body, answers))
    done = await all_whole(answers)
    choices = [_choice(i, one.text, one.answer.finish_reason) for i, one in enumerate(done)]
    return json_response({**_head(asked[0]), "choices": choices, **ending(answers)})


def _prompts(given: str | list[Any]) -> list[str | list[int]]:
    """One prompt, or several: texts, or lists of token ids. Raises RefusedError."""
    if isinstance(given, str):
        return [given]
    if given and all(type(item) is int for item in given):
        return [given]
    is_list = given and all(isinstance(item, str | list) for item in given)
    if not is_list or len(given) > _MAX_PROMPTS:
        raise RefusedError(
            400,
            f"prompt: expected a text, token ids, or a list of 1 to {_MAX_PROMPTS} of them",
            param="prompt",
        )
    return given


def _keywords(body: CompletionBody, served: Served) -> Any:
    keywords: Any = keywords_of(body, served.model.info.n_vocab)
    if body.logprobs is not None:
        keywords["logprobs"] = body.logprobs
    if body.response_format is not None:
        keywords["response_format"] = body.response_format
    return limited(keywords, body.max_tokens, body.n_predict, _DEFAULT_TOKENS)


def _head(asked: Asked) -> dict[str, Any]:
    return {
        "id": new_id("cmpl-"),
        "object": "text_completion",
        "created": now(),
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
    }


def _choice(index: int, text: str, finish: str | None, logprobs: Any = None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}


async def _chunks(body: CompletionBody, answers: list[Answer]) -> AsyncGenerator[bytes, None]:
    head = _head(answers[0].asked)
    streams = [_of_one(i, answer, head) for i, answer in enumerate(answers)]
    async with aclosing(side_by_side(streams)) as chunks:
        async for chunk in chunks:
            yield chunk
    if body.stream_options is not None and body.stream_options.include_usage:
        yield sse({**head, "choices": [], "usage": usage_of(answers)})
    yield DONE


async def _of_one(index: int, answer: Answer, head: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    async with aclosing(answer.pieces()) as pieces:
        async for record, _ in pieces:
            if record.text:
                yield sse({**head, "choices": [_choice(index, record.text, None)]})
    last = {"choices": [_choice(index, "", answer.finish_reason)]}
    yield sse({**head, **last, "timings": timings_of(answer.timings)})


ROUTES = (Route(("POST",), "/v1/completions", complete, CompletionBody, summary="Continue a text"),)

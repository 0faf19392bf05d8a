"""POST /v1/completions: what continues a text, whole or as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from qrt.api.scores import prompt_logprobs
from qrt.runtime.records import TokenRecord
from qrt.server.answers import Answer, Asked, asked_text
from qrt.server.errors import RefusedError
from qrt.server.fields import Count, SamplingFields, formatted, keywords_of, limited
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
from qrt.server.stream import EventStream, encode, json_response, sse
from qrt.server.text_logprobs import TextLogprobs, joined
from qrt.server.timings import timings_of
from qrt.server.wholes import all_whole, side_by_side

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


@dataclass(slots=True)
class _Choice:
    """One choice: an answer, after what it repeats of its prompt."""

    index: int
    answer: Answer
    logprobs: TextLogprobs | None
    echoed: str = ""
    of_echoed: dict[str, Any] | None = None

    def part(self, text: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        """As a chunk or a response has it."""
        return {"text": text, "index": self.index, "logprobs": logprobs, "finish_reason": finish}

    def scored(self, records: list[TokenRecord]) -> dict[str, Any] | None:
        """`logprobs` of tokens."""
        return None if self.logprobs is None else self.logprobs.of_records(records)


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
    prompts = _prompts(body.prompt)
    asked = [await asked_text(request, served, prompt, keywords) for prompt in prompts]
    choices = [
        choice for i, one in enumerate(asked) for choice in await _choices(body, one, i * n, n)
    ]
    is_begun = _n_wanted(body) != 0
    if body.stream:
        return EventStream(request, _chunks(body, choices, is_begun))
    answers = [choice.answer for choice in choices]
    done = await all_whole(answers) if is_begun else []
    parts = []
    for i, choice in enumerate(choices):
        text, records = (done[i].text, done[i].records) if is_begun else ("", [])
        scored = [one for one in (choice.of_echoed, choice.scored(records)) if one is not None]
        logprobs = joined(scored) if scored else None
        parts.append(choice.part(choice.echoed + text, choice.answer.finish_reason, logprobs))
    return json_response({**_head(asked[0]), "choices": parts, **ending(answers)})


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


def _n_wanted(body: CompletionBody) -> int:
    given = (body.max_tokens, body.n_predict)
    return next((limit for limit in given if limit is not None), _DEFAULT_TOKENS)


def _keywords(body: CompletionBody, served: Served) -> Any:
    keywords: Any = keywords_of(body, served.model.info.n_vocab)
    if body.logprobs is not None:
        keywords["logprobs"] = body.logprobs
    return limited(formatted(keywords, body.response_format), _n_wanted(body) or 1)


async def _choices(body: CompletionBody, asked: Asked, first: int, n: int) -> list[_Choice]:
    """The choices for one prompt, numbered from `first` on."""
    model, ids = asked.served.model, asked.tokens
    echoed = model.detokenize(ids) if body.echo else ""
    scores = None
    if body.echo and body.logprobs is not None:
        scores = await asyncio.to_thread(prompt_logprobs, model, ids, body.logprobs)
    choices = []
    for i in range(n):
        logprobs = None
        if body.logprobs is not None:
            offset = 0 if body.echo else len(model.detokenize(ids))
            logprobs = TextLogprobs(model.tokenizer, offset)
        of_echoed = logprobs.of_prompt(ids, scores) if logprobs and scores is not None else None
        choices.append(_Choice(first + i, Answer(asked, i), logprobs, echoed, of_echoed))
    return choices


def _head(asked: Asked) -> dict[str, Any]:
    return {
        "id": new_id("cmpl-"),
        "object": "text_completion",
        "created": now(),
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
    }


async def _chunks(
    body: CompletionBody, choices: list[_Choice], is_begun: bool
) -> AsyncGenerator[bytes, None]:
    answers = [choice.answer for choice in choices]
    head = _head(answers[0].asked)
    streams = [_of_one(choice, head, is_begun) for choice in choices]
    async with aclosing(side_by_side(streams)) as chunks:
        async for chunk in chunks:
            yield chunk
    if body.stream_options is not None and body.stream_options.include_usage:
        yield sse({**head, "choices": [], "usage": usage_of(answers)})
    yield DONE


async def _of_one(
    choice: _Choice, head: dict[str, Any], is_begun: bool
) -> AsyncGenerator[bytes, None]:
    """The chunks of one choice; those of text alone are cut from one pattern."""
    answer = choice.answer

    def chunk(text: str, logprobs: Any) -> bytes:
        return sse({**head, "choices": [choice.part(text, None, logprobs)]})

    before, behind = chunk("\0", None).split(encode("\0"))

    def told(record: TokenRecord) -> bytes:
        scored = choice.scored([record])
        if scored is None:
            return before + encode(record.text) + behind if record.text else b""
        return chunk(record.text, scored) if record.text or scored["tokens"] else b""

    if choice.echoed:
        yield chunk(choice.echoed, choice.of_echoed)
    if is_begun:
        async with aclosing(answer.pieces()) as batches:
            async for pieces in batches:
                yield b"".join(told(record) for record, _ in pieces)
    last = {"choices": [choice.part("", answer.finish_reason, None)]}
    yield sse({**head, **last, "timings": timings_of(answer.timings)})


ROUTES = (Route(("POST",), "/v1/completions", complete, CompletionBody, summary="Continue a text"),)

"""POST /v1/chat/completions: an answer to a conversation, whole or as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from qrt.api.asking import AnswerKeywords
from qrt.replies import Event, Text, template_vars
from qrt.runtime.records import TokenRecord
from qrt.server.answers import Answer, Asked, Chat, asked_chat
from qrt.server.errors import RefusedError
from qrt.server.fields import Count, SamplingFields, formatted, keywords_of, limited, paced
from qrt.server.models import Served
from qrt.server.openai import (
    DONE,
    FINGERPRINT,
    StreamOptions,
    delta_of,
    ending,
    message_of,
    n_choices,
    new_id,
    now,
    token_logprobs,
)
from qrt.server.routes.native_bodies import Sampled
from qrt.server.routes.native_results import Result
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream, encode, json_response, sse
from qrt.server.timings import progress_of, timings_of
from qrt.server.wholes import Whole, all_whole, side_by_side


class ChatBody(SamplingFields, kw_only=True):
    """A request for an answer to a conversation."""

    messages: list[dict[str, Any]]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    n_predict: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    response_format: dict[str, Any] | None = None
    json_schema: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    thinking_budget: Count | None = None
    thinking_budget_tokens: Count | None = None
    reasoning_budget_tokens: Count | None = None
    reasoning_format: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    verbose: bool | None = None

    @property
    def is_continued(self) -> bool:
        """Whether the last message is what the answer begins with: one of the assistant's, unless
        the request says otherwise. Raises RefusedError."""
        if self.continue_final_message and self.add_generation_prompt:
            name = "continue_final_message"
            raise RefusedError(400, f"{name} excludes add_generation_prompt", param=name)
        if self.continue_final_message is not None:
            return self.continue_final_message
        last = self.messages[-1] if len(self.messages) > 1 else {}
        is_own = last.get("role") == "assistant" and not last.get("tool_calls")
        return is_own and not self.add_generation_prompt


async def chat(request: Request[ChatBody]) -> Response:
    """Answers a conversation."""
    body = request.body
    served = await request.acquire(body.model)
    asked = await asked_chat(request, served, _chat(body, served))
    n = n_choices(body.n, request.config.max_choices)
    tells = bool(body.stream and body.return_progress)
    answers = [Answer(asked, i, tells_prompt=tells) for i in range(n)]
    if body.stream:
        return EventStream(request, _chunks(body, answers))
    return json_response(_completion(body, asked, await all_whole(answers)))


async def input_tokens(request: Request[ChatBody]) -> Response:
    """Counts the tokens of a conversation's prompt."""
    served = await request.acquire(request.body.model)
    asked = await asked_chat(request, served, _chat(request.body, served))
    return json_response({"input_tokens": len(asked.tokens)})


def _chat(body: ChatBody, served: Served) -> Chat:
    source = served.model.chat_template.source
    switches = template_vars(source, reasoning_effort=body.reasoning_effort)
    return Chat(
        messages=body.messages,
        keywords=_keywords(body, served),
        tools=body.tools or (),
        tool_choice=body.tool_choice or "auto",
        parallel_tool_calls=body.parallel_tool_calls is not False,
        template_vars=switches | (body.chat_template_kwargs or {}),
        splits=body.reasoning_format != "none" or bool(body.tools),
        continued=body.is_continued,
    )


def _keywords(body: ChatBody, served: Served) -> AnswerKeywords:
    keywords: Any = keywords_of(body, served.model.info.n_vocab)
    keywords = limited(keywords, body.max_completion_tokens, body.max_tokens, body.n_predict)
    budgets = (body.thinking_budget, body.thinking_budget_tokens, body.reasoning_budget_tokens)
    keywords = paced(keywords, *budgets)
    if body.top_logprobs and not body.logprobs:
        raise RefusedError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    if body.logprobs:
        keywords["logprobs"] = body.top_logprobs or 0
    return formatted(keywords, body.response_format, body.json_schema)


def _completion(body: ChatBody, asked: Asked, done: list[Whole]) -> dict[str, Any]:
    tokenizer = asked.served.model.tokenizer
    choices = [
        {
            "index": one.answer.index,
            "message": message_of(one),
            "logprobs": token_logprobs(tokenizer, one.records) if body.logprobs else None,
            "finish_reason": one.answer.finish_reason,
        }
        for one in done
    ]
    verbose = {"__verbose": _native(body, done[0].answer, done[0].records)} if body.verbose else {}
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": now(),
        "model": asked.model,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        **ending([one.answer for one in done]),
        **verbose,
    }


def _native(body: ChatBody, answer: Answer, records: Iterable[TokenRecord]) -> dict[str, Any]:
    """An answer as /completion tells it, with the prompt that the conversation became."""
    sampled = Sampled(grammar=body.grammar, stream=body.stream)
    result = Result(sampled, answer, answer.index)
    for record in records:
        result.take(record)
    return result.whole()


async def _chunks(body: ChatBody, answers: list[Answer]) -> AsyncGenerator[bytes, None]:
    head = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": now(),
        "model": answers[0].asked.model,
        "system_fingerprint": FINGERPRINT,
    }
    has_usage = body.stream_options is not None and body.stream_options.include_usage
    streams = [_of_one(body, answer, head) for answer in answers]
    async with aclosing(side_by_side(streams)) as chunks:
        async for chunk in chunks:
            yield chunk
    if has_usage:
        yield sse({**head, "choices": [], **ending(answers)})
    yield DONE


async def _of_one(
    body: ChatBody, answer: Answer, head: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """The chunks of one choice. Those of plain text, which nearly all are, are cut from one
    pattern: only the text is encoded for each."""
    tokenizer = answer.asked.served.model.tokenizer
    index = answer.index

    records = list[TokenRecord]()

    def chunk(delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        told: dict[str, Any] = {}
        if finish is not None:
            told["timings"] = timings_of(answer.timings)
            if body.verbose:
                told["__verbose"] = _native(body, answer, records)
        return sse({**head, "choices": [choice], **told})

    before, behind = chunk({"content": "\0"}).split(encode("\0"))
    opening = chunk({"role": "assistant", "content": None})
    async with aclosing(answer.progress()) as told_progress:
        async for progress in told_progress:
            empty = {"index": index, "delta": {}, "logprobs": None, "finish_reason": None}
            yield sse({**head, "choices": [empty], "prompt_progress": progress_of(progress)})

    def told(record: TokenRecord, events: Sequence[Event]) -> Iterator[bytes]:
        if body.logprobs:
            deltas = [delta for event in events if (delta := delta_of(event)) is not None]
            first, *rest = deltas or [{"content": ""}]
            yield chunk(first, token_logprobs(tokenizer, [record]))
            yield from map(chunk, rest)
            return
        for event in events:
            if isinstance(event, Text):
                yield before + encode(event.text) + behind
            elif (delta := delta_of(event)) is not None:
                yield chunk(delta)

    async with aclosing(answer.pieces()) as batches:
        async for pieces in batches:
            if body.verbose:
                records += [piece.record for piece in pieces]
            # The opening not before: what an answer cannot begin for is no part of a stream.
            yield opening + b"".join(part for piece in pieces for part in told(*piece))
            opening = b""
    yield chunk({}, None, answer.finish_reason)


_POST = ("POST",)
ROUTES = (
    *Route(_POST, "/v1/chat/completions", chat, ChatBody, summary="Answer a conversation").at(
        "/chat/completions"
    ),
    *Route(
        *(_POST, "/v1/chat/completions/input_tokens", input_tokens, ChatBody),
        summary="Count the tokens of a conversation",
    ).at("/chat/completions/input_tokens"),
)

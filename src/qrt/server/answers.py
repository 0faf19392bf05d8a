"""From a checked request to what its answer consists of: the same for every API.

An API makes an `Asked` (`asked_chat`, `asked_text`), runs it as an `Answer`, and renders the
events that come of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from qrt.api.asking import AnswerKeywords
from qrt.errors import QrtError
from qrt.replies import (
    CallBegun,
    Event,
    Reader,
    Text,
    Thought,
    call_grammar,
    reader_of,
    with_tools,
)
from qrt.runtime.constraint import Grammar
from qrt.runtime.records import PromptProgress, Timings, TokenRecord
from qrt.runtime.rng import MAX_SEED
from qrt.server.errors import LOG, RefusedError
from qrt.server.fields import by_name
from qrt.server.messages import tidied
from qrt.server.metrics import Metrics
from qrt.server.models import Served
from qrt.server.routing import Request
from qrt.server.slots import Slot
from qrt.structure.forms import form_of

if TYPE_CHECKING:
    from qrt.api import Model

_NO_TIMINGS = Timings(0, 0, 0, 0.0, 0.0, 0.0, 0.0)
_NO_EVENTS: Sequence[Event] = ()
_Batches = AsyncGenerator[list[TokenRecord], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer that a request asks for; several of them may share all but the seed.

    reader: makes what tells thoughts and calls from the answer; None: all of it is text.
    """

    served: Served
    tokens: list[int]
    keywords: AnswerKeywords
    reader: Callable[[], Reader] | None
    metrics: Metrics
    started: float
    is_logged: bool = False
    """Whether prompt and answer stand in the log."""
    slot: Slot | None = None
    """The slot that it goes on in; None: in none."""

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self.served.name

    def options(self, index: int) -> AnswerKeywords:
        """Those of one of several answers, which have seeds in a row."""
        if not index or "seed" not in self.keywords:
            return self.keywords
        return {**self.keywords, "seed": ((self.keywords["seed"] or 0) + index) % (MAX_SEED + 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation to answer, in OpenAI's terms."""

    messages: Sequence[Mapping[str, Any]]
    keywords: AnswerKeywords
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    parallel_tool_calls: bool = True
    template_vars: Mapping[str, Any] = field(default_factory=dict)
    splits: bool = True
    """Whether thoughts are told from the answer."""
    continued: bool = False
    """Whether the last message is what the assistant's answer begins with."""
    may_be_lax: bool = False
    """Whether strict tools are as others where a grammar of them is not sure to be right."""


async def asked_chat(request: Request[Any], served: Served, chat: Chat) -> Asked:
    """What a conversation asks for. Raises InputError and RefusedError."""
    model = served.model
    tools = [] if chat.tool_choice == "none" else list(chat.tools)
    messages, offering = with_tools(model.chat_template.source, tidied(chat.messages), tools)
    template_vars = {**served.template_vars, **chat.template_vars, **offering}
    tokens = await asyncio.to_thread(
        model.chat_template.tokens, messages, template_vars, continued=chat.continued
    )

    def reader() -> Reader:
        return reader_of(model.tokenizer, model.chat_template.source, tokens, tools)

    keywords: Any = dict(chat.keywords)
    form = form_of(keywords.get("response_format"), keywords.get("grammar"))
    text = form.grammar if form is not None and form.grammar.kind == "json_schema" else None
    grammar = call_grammar(
        model.tokenizer,
        model.chat_template.source,
        tokens,
        tools,
        chat.tool_choice,
        chat.parallel_tool_calls and isinstance(chat.tool_choice, str),  # one by its name: once
        text,
        chat.may_be_lax,
    )
    is_own = chat.tool_choice == "auto" and form is not None and text is None
    if grammar is not None and not is_own and await _can_hold(model, grammar, chat):
        keywords.pop("response_format", None)
        keywords["grammar"] = grammar
    return await _asked(request, served, tokens, keywords, reader if chat.splits else None)


async def _can_hold(model: Model, grammar: Grammar, chat: Chat) -> bool:
    if chat.tool_choice != "auto" or not chat.may_be_lax:
        return True
    try:
        await asyncio.to_thread(model.check_grammar, grammar)
    except QrtError:
        return False
    return True


async def asked_text(
    request: Request[Any], served: Served, prompt: str | list[int], keywords: AnswerKeywords
) -> Asked:
    """What a text, or token ids, to be continued ask for. Raises InputError."""
    if isinstance(prompt, str):
        prompt = await asyncio.to_thread(_tokens, served.model, prompt)
    return await _asked(request, served, prompt, keywords, None)


def _tokens(model: Model, text: str) -> list[int]:
    """The tokens of a text, unless it is clear without them that they are too many."""
    n_ctx = model.info.n_ctx
    if len(text) > n_ctx and (n_least := model.tokenizer.least_tokens(text)) >= n_ctx:
        raise _too_long(n_least, n_ctx, "prompt")
    return model.tokenize(text)


def _too_long(n_tokens: int, n_ctx: int, param: str) -> RefusedError:
    return RefusedError(
        400,
        f"the prompt has {n_tokens} tokens; with one of the answer this exceeds the "
        f"available context size of {n_ctx}",
        param=param,
        code="context_length_exceeded",
        numbers={"n_prompt_tokens": n_tokens, "n_ctx": n_ctx},
    )


async def _asked(
    request: Request[Any],
    served: Served,
    tokens: list[int],
    keywords: AnswerKeywords,
    reader: Callable[[], Reader] | None,
) -> Asked:
    n_ctx = served.model.info.n_ctx
    if len(tokens) >= n_ctx:
        raise _too_long(len(tokens), n_ctx, "messages" if reader else "prompt")
    slot, slots, id_slot = None, request.state.slots, getattr(request.body, "id_slot", None)
    if slots is not None and id_slot is not None and id_slot >= 0:
        lent = slots.lent(served.model, request.key_salt, id_slot, request)
        slot = await request.held.enter_async_context(lent)
    salt = request.key_salt if slot is None else slot.salt
    given: Any = {**served.options, **keywords, "cache_salt": salt}
    if "lora" in keywords:
        given["lora"] = by_name(given["lora"], served.model.adapters)
    is_logged = request.config.log_prompts
    if is_logged:
        LOG.info("prompt: %r", served.model.detokenize(tokens, special=True))
    metrics = request.state.metrics
    return Asked(served, tokens, given, reader, metrics, request.started, is_logged, slot)


class Piece(NamedTuple):
    """What one token brought."""

    record: TokenRecord
    events: Sequence[Event]


class Answer:
    """A generation under way: `pieces`, once, and what it came to."""

    def __init__(self, asked: Asked, index: int = 0, *, tells_prompt: bool = False) -> None:
        """index: of several answers to one request. tells_prompt: whether there is `progress`.
        Raises InputError for wrong options or tools."""
        self.index = index
        self.asked = asked
        asked.metrics.models.add(asked.served.model)
        self._reader = asked.reader() if asked.reader is not None else None
        options = asked.options(index)
        self._progress: asyncio.Queue[PromptProgress | None] | None = None
        if tells_prompt:
            self._progress = asyncio.Queue()
            options = {**options, "on_prompt": _sender(self._progress)}
        runner = asked.served.model if asked.slot is None else asked.slot.session
        self._records = runner.astream_batches(asked.tokens, **options)
        self.timings = _NO_TIMINGS
        self._times = 0.0, 0.0  # of the first token and of the last
        self._said = list[str]()
        self._has_called = False
        self.n_tokens = 0
        self.n_thought_tokens = 0
        self.finish_reason = "length"
        """As OpenAI has it: stop, length or tool_calls."""

    @property
    def so_far(self) -> Timings:
        """Its timings while it goes on, by the times at which its tokens came."""
        if self.timings is not _NO_TIMINGS:
            return self.timings
        n_prompt, (first, last) = len(self.asked.tokens), self._times
        ttft_s, decode_s = first - self.asked.started, last - first
        decode_tok_s = (self.n_tokens - 1) / decode_s if decode_s else 0.0
        return Timings(n_prompt, 0, self.n_tokens, ttft_s, n_prompt / ttft_s, decode_tok_s, 0.0)

    async def progress(self) -> AsyncGenerator[PromptProgress, None]:
        """Begins it; how far its prompt is, until `pieces` has the first of its own."""
        if (told := self._progress) is None:
            return
        records = self._records
        first = asyncio.ensure_future(anext(records, None))
        first.add_done_callback(lambda _: told.put_nowait(None))
        self._records = _resumed(first, records)
        try:
            while (progress := await told.get()) is not None:
                yield progress
        except BaseException:
            first.cancel()
            await asyncio.wait([first])
            await records.aclose()
            raise

    async def pieces(self) -> AsyncGenerator[list[Piece], None]:
        """Runs it, and gives in lists what came at once. Raises what `Model.stream` raises."""
        asked = self.asked
        metrics = asked.metrics
        metrics.n_running += 1
        last, is_first = asked.started, True
        try:
            async with aclosing(self._records) as batches:
                async for records in batches:
                    now = time.perf_counter()
                    since, last = now - last, now
                    if is_first:
                        metrics.first_token.add(since)
                        metrics.between_tokens.add(0.0, len(records) - 1)
                        self._times = now, now
                        is_first = False
                    else:
                        metrics.between_tokens.add(since / len(records), len(records))
                        self._times = self._times[0], now
                    self.n_tokens += len(records)
                    yield [Piece(record, self._events(record)) for record in records]
        finally:
            metrics.n_running -= 1
            if asked.is_logged:
                LOG.info("answer: %r", "".join(self._said))
            if self.timings is not _NO_TIMINGS:
                metrics.count(self.timings)

    def _events(self, record: TokenRecord) -> Sequence[Event]:
        """What a token brings; the last one ends the answer."""
        if self.asked.is_logged:
            self._said.append(record.text)
        if self._reader is None:
            events: Sequence[Event] = (Text(record.text),) if record.text else _NO_EVENTS
        else:
            events = self._reader.push(record)
            if events and isinstance(events[0], Thought):
                self.n_thought_tokens += 1
            if record.finish_reason is not None:
                events = [*events, *self._reader.flush()]
            self._has_called |= any(isinstance(event, CallBegun) for event in events)
        if record.finish_reason is not None:
            is_stop = record.finish_reason == "stop"
            self.finish_reason = (
                "tool_calls" if is_stop and self._has_called else record.finish_reason
            )
            self.timings = record.timings or _NO_TIMINGS
        return events


def _sender(told: asyncio.Queue[PromptProgress | None]) -> Callable[[PromptProgress], None]:
    """What puts progress, from any thread, into a queue of the running loop."""
    loop = asyncio.get_running_loop()

    def send(progress: PromptProgress) -> None:
        loop.call_soon_threadsafe(told.put_nowait, progress)

    return send


async def _resumed(first: asyncio.Future[list[TokenRecord] | None], batches: _Batches) -> _Batches:
    """Records, the first of which were awaited."""
    async with aclosing(batches):
        if (records := await first) is not None:
            yield records
        async for records in batches:
            yield records

"""One generation as a state: a prompt, then a token for every row of logits that follows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from qrt.errors import ContextFullError, InputError
from qrt.runtime.checks import check_int, check_tokens
from qrt.runtime.hooks import call, stops
from qrt.runtime.lora import salted
from qrt.runtime.options import GenerateOptions
from qrt.runtime.records import FinishReason, PromptProgress, Timings, TokenRecord, TopLogprobs
from qrt.runtime.rng import fresh_seed
from qrt.runtime.sampler import Breakers, Row, Sampler
from qrt.runtime.stops import StopStrings
from qrt.runtime.turns import never

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qrt.runtime.constraint import Constraint
    from qrt.text import Tokenizer

_MOST_FORCED: Final = 64
"""Tokens at most that a constraint forces behind one that was sampled, before the next is."""


class Generation:
    """What one generation has said so far, and the tokens that its next one depends on.

    `context` must have been computed for the next token; `take` makes a record of the logits of
    its last row, and puts the new token behind it, and those that a constraint forces. `n_valid`
    is how many tokens of what was computed are still the first of `context`.
    """

    def __init__(
        self,
        n_ctx: int,
        tokenizer: Tokenizer,
        prompt: Items[int],
        options: GenerateOptions,
        n_vocab: int,
        weight_bytes: int,
        breakers: Breakers | None = None,
        scales: tuple[float, ...] = (),
        decoder_start: int | None = None,
        pace: Callable[[Constraint | None], Constraint] | None = None,
    ) -> None:
        """With `decoder_start` an encoder reads the prompt, and the answer begins behind that
        token, which ends the prompt. pace: makes, of what an answer is held to, what ends its
        thoughts in time besides.

        Raises InputError for an empty prompt or a token outside the vocabulary,
        ContextFullError if the prompt leaves no room for a token, and what making the constraint
        raises.
        """
        self.prompt = check_tokens("prompt", prompt, n_vocab)
        self.seed = fresh_seed() if options.seed is None else int(options.seed)
        if not self.prompt:
            raise InputError("the prompt is empty; give at least one token")
        self.n_encoded = 0
        """Its first tokens, those of a text that an encoder reads whole."""
        if decoder_start is not None:
            self.n_encoded = len(self.prompt)
            self.prompt.append(decoder_start)
        if len(self.prompt) >= n_ctx:
            raise ContextFullError(
                f"the prompt has {len(self.prompt)} tokens, the context holds {n_ctx} and "
                "needs room for at least one more; shorten it or load with a larger n_ctx"
            )
        eog = frozenset(tokenizer.eog_ids)
        stop_tokens = check_tokens("stop_tokens", options.stop_tokens, n_vocab)
        self._end_tokens = frozenset(stop_tokens) | (frozenset() if options.ignore_eos else eog)
        n_kept = len(self.prompt) if self.n_encoded else int(self.prompt[0] == tokenizer.bos_id)
        self._n_keep = max(options.n_keep, n_kept)
        if options.context_shift:
            check_int("n_keep", self._n_keep, 0, n_ctx // 2)
        self._n_ctx = n_ctx
        self._max_tokens = options.max_tokens
        self._context_shift = options.context_shift
        self._weight_bytes = weight_bytes
        self.sampler = Sampler(
            options.sampling,
            n_vocab,
            self.seed,
            breakers or {},
            banned=sorted(eog) if options.ignore_eos else (),
            processors=options.logits_processors,
        )
        self.scales = scales
        """How much of each adapter it uses."""
        salt = options.cache_salt if options.cache_prompt else None
        self.salt = salted(salt, scales, self.prompt[: self.n_encoded])
        """With whom it shares what is stored of its context; None: with nobody."""
        self.n_logprobs = options.logprobs
        self._tells_sampled = options.sampled_logprobs
        self._stopping = options.stopping
        self._on_prompt = options.on_prompt
        self.has_hooks = bool(
            options.logits_processors or options.stopping or options.constraint or options.on_prompt
        )
        """Whether a step calls functions of a caller's."""
        self.is_stopped = options.cancel.is_set if options.cancel is not None else never
        self._tokenizer = tokenizer
        self._stop_strings = options.stop_strings
        self.constrain = options.constraint
        self._pace = pace
        self._begin_answer(())
        self._is_taking = False
        self._most_forced = min(_MOST_FORCED, n_ctx // 4)
        room = min(self._most_forced, n_ctx - len(self.prompt) - 1)
        self._lead = list(islice(self._forced(), room))
        self._history = [*self.prompt, *self._lead]
        self.context = [*self.prompt, *self._lead]
        self.n_valid = n_ctx
        self.records: list[TokenRecord] = []
        self.n_cached = 0
        self.priority = options.priority
        self.deadline = math.inf
        """When its time is up, by `time.perf_counter`, once it has begun."""
        self._timeout = math.inf if options.timeout is None else options.timeout
        limit = options.answer_timeout
        self._answer_timeout = math.inf if limit is None else limit
        self._started = 0.0
        self._ttft_s = 0.0
        self._prefill_s = 0.0
        self._decode_s = 0.0

    @property
    def is_finished(self) -> bool:
        """Whether its last record is the last there will be."""
        return bool(self.records) and self.records[-1].finish_reason is not None

    @property
    def timings(self) -> Timings:
        """The timings so far."""
        return self._timings(len(self.records))

    def start(self) -> None:
        """The time to its first token runs from here."""
        self._started = time.perf_counter()
        self.deadline = self._started + self._timeout

    def stop_when(self, is_stopped: Callable[[], bool]) -> None:
        """It ends before its next step also once this says so."""
        given = self.is_stopped
        self.is_stopped = lambda: given() or is_stopped()

    def count_prompt(self, seconds: float) -> None:
        """Counts a step that computed a part of the prompt."""
        self._prefill_s += seconds

    @property
    def tells_prompt(self) -> bool:
        """Whether somebody is to be told how far its prompt is, which has no answer yet."""
        return self._on_prompt is not None

    def tell_prompt(self, n_stored: int) -> None:
        """Tells how far its prompt is; raises what that raises."""
        assert self._on_prompt is not None
        n_tokens = len(self.prompt)
        n_cached = min(self.n_cached, n_tokens)
        n_done = min(n_stored, n_tokens)
        call(self._on_prompt, PromptProgress(n_tokens, n_cached, n_done, self._prefill_s))

    @property
    def is_held(self) -> bool:
        """Whether a constraint says what may come next."""
        return self.constrain is not None

    def mask(self) -> NDArray[np.uint32] | None:
        """The tokens that its constraint allows next, as bits; None for all, or if none follow."""
        constraint = self._constraint if self.is_held else None
        if constraint is None or (self._lead and not self.records and constraint.is_complete):
            return None
        return constraint.mask()

    @property
    def history(self) -> Items[int]:
        """Prompt and answer so far, whatever the context has forgotten."""
        return self._history

    def take(self, row: Row, since: float) -> None:
        """Draws from a row of a step begun at `since`; appends the records."""
        self._is_taking = True
        n_before, new = len(self.records), list[TokenRecord]()
        for token, logprob, top, is_complete in self._following(row):
            ends = token in self._end_tokens
            decoded = self._decoder.flush() if ends else self._decoder.push(token)
            text, found = self._stops.push(decoded)
            finish: FinishReason | None = "stop" if ends or found else None
            if finish is None and (
                reason := "stop" if is_complete else self._cut(token, text, new)
            ):
                tail, found = self._stops.push(self._decoder.flush())
                text += tail
                finish = "stop" if found else reason
            if finish is not None:
                text += "" if found else self._stops.flush()
            new.append(TokenRecord(text, token, logprob, finish, None, top))
            if finish is not None:
                break
        now = time.perf_counter()
        if n_before == 0:
            self._ttft_s = now - self._started
            self.deadline = min(self.deadline, now + self._answer_timeout)
        else:
            self._decode_s += now - since
        if finish is not None:
            timings = self._timings(n_before + len(new))
            new[-1] = replace(new[-1], timings=timings, stop_string=self._stops.found)
        added = [record.token for record in new]
        if n_before == 0:
            del added[: len(self._lead)]
        context, n_valid, behind = self.context, self.n_valid, added
        if finish is None and len(context) + len(added) > self._n_ctx:
            context, n_valid, behind = self._shifted(added), self._n_keep, []
        # No call from here on: an interrupt finds all of it done, or nothing.
        context += behind
        self.context = context
        self.n_valid = n_valid
        self._history += added
        self.records += new
        self._is_taking = False

    def mend(self) -> None:
        """After an interrupt: forgets a token that was being taken."""
        if self._is_taking:
            self._begin_answer(self._history[len(self.prompt) :])
            for record in self.records:
                self._stops.push(self._decoder.push(record.token))
            self._is_taking = False

    def _begin_answer(self, tokens: Items[int]) -> None:
        """Whatever goes along an answer stands at its start, the constraint behind `tokens`."""
        self._decoder = self._tokenizer.stream()
        self._stops = StopStrings(self._stop_strings)
        constraint = None if self.constrain is None else self.constrain()
        self._constraint = constraint if self._pace is None else self._pace(constraint)
        if self._constraint is not None:
            for token in tokens:
                self._constraint.accept(token)

    def _following(self, row: Row) -> Iterator[tuple[int, float, TopLogprobs, bool]]:
        """The tokens that follow: what was forced before the first, one sampled, what that forces.

        Each with its log probability, 0 of a forced one, the likeliest in its place, and whether
        it completes the answer.
        """
        constraint, lead = self._constraint, [] if self.records else self._lead
        for n, token in enumerate(lead, start=1):
            is_last = n == len(lead) and constraint is not None and constraint.is_complete
            yield token, 0.0, (), is_last
        token = self.sampler.draw(row, len(self._history), self._history)
        if self._tells_sampled:
            logprob, top = row.sampled(token, self.n_logprobs)
        else:
            logprob = row.logprob(token)
            top = row.likeliest(self.n_logprobs) if self.n_logprobs else ()
        if constraint is None or token in self._end_tokens:
            yield token, logprob, top, False
            return
        constraint.accept(token)
        yield token, logprob, top, constraint.is_complete
        for token in islice(self._forced(), self._most_forced):
            yield token, 0.0, (), constraint.is_complete

    def _forced(self) -> Iterator[int]:
        """The tokens that the constraint forces now; it has accepted each that is given."""
        constraint = self._constraint
        while constraint is not None and not constraint.is_complete:
            tokens = constraint.forced()
            for token in tokens:
                constraint.accept(token)
                yield token
            if not tokens:
                return

    def _cut(self, token: int, text: str, new: Items[TokenRecord]) -> FinishReason | None:
        """Why an answer whose newest token and text are these, behind the records and `new`, ends
        here, if it does."""
        if self._stopping:
            given = [*self.records, *new]
            ids = [*self.prompt, *(record.token for record in given), token]
            if stops(self._stopping, ids, "".join(record.text for record in given) + text):
                return "stop"
        return "length" if self._is_full(len(self.records) + len(new) + 1) else None

    def _shifted(self, added: Items[int]) -> list[int]:
        """The context with `added` behind it, its older half forgotten whenever it is full."""
        context = list(self.context)
        for token in added:
            if len(context) == self._n_ctx:
                rest = context[self._n_keep :]
                context = context[: self._n_keep] + rest[(len(rest) + 1) // 2 :]
            context.append(token)
        return context

    def _is_full(self, n_tokens: int) -> bool:
        """Whether max_tokens, the time or, unless it shifts, the context allows no further one."""
        if n_tokens == self._max_tokens or time.perf_counter() >= self.deadline:
            return True
        return len(self.prompt) + n_tokens >= self._n_ctx and not self._context_shift

    def _timings(self, n_tokens: int) -> Timings:
        decode_tok_s = _rate(n_tokens - len(self._lead) - 1, self._decode_s)
        n_cached = min(self.n_cached, len(self.prompt))  # forced tokens may have been stored too
        return Timings(
            n_prompt_tokens=len(self.prompt),
            n_cached_tokens=n_cached,
            n_tokens=n_tokens,
            ttft_s=self._ttft_s,
            prefill_tok_s=_rate(len(self.prompt) - n_cached, self._prefill_s),
            decode_tok_s=decode_tok_s,
            gb_s=decode_tok_s * self._weight_bytes / 1e9,
        )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0

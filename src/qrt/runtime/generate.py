"""Generation: a prompt's tokens in, one record per sampled token out."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Self

from qrt.errors import ContextFullError, InputError
from qrt.runtime.checks import check_int, check_tokens
from qrt.runtime.engine import Engine, Logits, StoppedError, never
from qrt.runtime.kv import Sequence
from qrt.runtime.options import GenerateOptions
from qrt.runtime.records import FinishReason, Timings, TokenRecord
from qrt.runtime.rng import fresh_seed
from qrt.runtime.sampler import Breakers, Sampler
from qrt.runtime.stops import StopStrings

if TYPE_CHECKING:
    from types import TracebackType

    from qrt.text import Tokenizer


class Stream(Iterator[TokenRecord]):
    """One generation: iterate to run it; close it, or let go of it, to end it early.

    The prompt is checked when the stream is made and computed when the first record is asked for.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompt: Items[int],
        options: GenerateOptions,
        *,
        n_vocab: int,
        weight_bytes: int,
        breakers: Breakers | None = None,
        seq: Sequence | None = None,
    ) -> None:
        """Works on `seq` and leaves it idle, or on a sequence of its own.

        Raises InputError for an empty prompt or a token outside the vocabulary, and
        ContextFullError if the prompt leaves no room for a token.
        """
        self._work = _Generation(
            engine, tokenizer, prompt, options, n_vocab, weight_bytes, breakers or {}
        )
        self._records = self._work.run(seq)

    @property
    def seed(self) -> int:
        """The seed of this generation's random numbers."""
        return self._work.seed

    @property
    def n_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self._work.prompt)

    @property
    def timings(self) -> Timings:
        """The timings so far."""
        return self._work.timings

    def close(self) -> None:
        """Ends the generation; its KV pages are kept for the session's next turn, or freed."""
        self._records.close()

    def __next__(self) -> TokenRecord:
        return next(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Generation:
    """The work behind a stream. It does not know the stream, so that letting go of that ends it."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompt: Items[int],
        options: GenerateOptions,
        n_vocab: int,
        weight_bytes: int,
        breakers: Breakers,
    ) -> None:
        self.prompt = check_tokens("prompt", prompt, n_vocab)
        self.seed = fresh_seed() if options.seed is None else int(options.seed)
        if not self.prompt:
            raise InputError("the prompt is empty; give at least one token")
        if len(self.prompt) >= engine.n_ctx:
            raise ContextFullError(
                f"the prompt has {len(self.prompt)} tokens, the context holds {engine.n_ctx} and "
                "needs room for at least one more; shorten it or load with a larger n_ctx"
            )
        eog = frozenset(tokenizer.eog_ids)
        stop_tokens = check_tokens("stop_tokens", options.stop_tokens, n_vocab)
        self._end_tokens = frozenset(stop_tokens) | (frozenset() if options.ignore_eos else eog)
        self._n_keep = max(options.n_keep, int(self.prompt[0] == tokenizer.bos_id))
        if options.context_shift:
            check_int("n_keep", self._n_keep, 0, engine.n_ctx // 2)
        self._engine = engine
        self._tokenizer = tokenizer
        self._options = options
        self._weight_bytes = weight_bytes
        self._sampler = Sampler(
            options.sampling,
            n_vocab,
            self.seed,
            breakers,
            banned=sorted(eog) if options.ignore_eos else (),
        )
        self._stopped = options.cancel.is_set if options.cancel is not None else never
        self._n_cached = 0
        self._n_tokens = 0
        self._ttft_s = 0.0
        self._prefill_s = 0.0
        self._decode_s = 0.0

    @property
    def timings(self) -> Timings:
        decode_tok_s = _rate(self._n_tokens - 1, self._decode_s)
        return Timings(
            n_prompt_tokens=len(self.prompt),
            n_cached_tokens=self._n_cached,
            n_tokens=self._n_tokens,
            ttft_s=self._ttft_s,
            prefill_tok_s=_rate(len(self.prompt) - self._n_cached, self._prefill_s),
            decode_tok_s=decode_tok_s,
            gb_s=decode_tok_s * self._weight_bytes / 1e9,
        )

    def run(self, seq: Sequence | None) -> Generator[TokenRecord]:
        """Yields the records; on every way out the sequence is idle, or released if it is ours."""
        engine = self._engine
        used = engine.open() if seq is None else seq
        try:
            yield from self._records(used)
        except StoppedError:
            return
        finally:
            engine.park(used, self)
            if seq is None:
                engine.release(used)

    def _records(self, seq: Sequence) -> Generator[TokenRecord]:
        decoder = self._tokenizer.stream()
        stops = StopStrings(self._options.stop_strings)
        history = list(self.prompt)
        start = time.perf_counter()
        logits = self._prompt_logits(seq)
        while True:
            token, logprob = self._sampler.sample(logits[0], len(history), history)
            history.append(token)
            self._count(time.perf_counter() - start)

            ends = token in self._end_tokens
            text, found = stops.push(decoder.flush() if ends else decoder.push(token))
            finish: FinishReason | None = "stop" if ends or found else None
            if finish is None and self._is_full(len(history)):
                tail, found = stops.push(decoder.flush())
                text += tail
                finish = "stop" if found else "length"
            if finish is not None:
                text += "" if found else stops.flush()
                yield TokenRecord(text, token, logprob, finish, self.timings)
                return
            yield TokenRecord(text, token, logprob)

            start = time.perf_counter()
            logits = self._next_logits(seq, token)

    def _prompt_logits(self, seq: Sequence) -> Logits:
        """The logits after the prompt, (1, n_vocab)."""
        start = time.perf_counter()
        self._n_cached = self._engine.acquire(seq, self, self.prompt)
        logits = self._engine.prefill(seq, self.prompt[self._n_cached :], stop=self._stopped)
        self._prefill_s = time.perf_counter() - start
        return logits

    def _next_logits(self, seq: Sequence, token: int) -> Logits:
        """The logits after `token`, (1, n_vocab), with room made if the context is full."""
        if self._stopped():
            raise StoppedError
        if len(seq) == self._engine.n_ctx:
            self._engine.shift(seq, self._n_keep, stop=self._stopped)
        return self._engine.decode([(seq, token)])

    def _count(self, seconds: float) -> None:
        self._n_tokens += 1
        if self._n_tokens == 1:
            self._ttft_s = seconds
        else:
            self._decode_s += seconds

    def _is_full(self, n_history: int) -> bool:
        """Whether max_tokens or, unless it shifts, the context allows no further token."""
        if self._n_tokens == self._options.max_tokens:
            return True
        return n_history >= self._engine.n_ctx and not self._options.context_shift


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0

"""One generation as steps: a prompt in, then a token for every row of logits."""

from __future__ import annotations

import time
from collections.abc import Generator
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING

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
    from qrt.text import Tokenizer


class Generation:
    """The state of one generation, which `run` drives alone or `many` beside others.

    `start` gives the first record; then, until a record has a finish reason: `next_token` is what
    the engine decodes, `take` makes a record of the logits that follow it.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompt: Items[int],
        options: GenerateOptions,
        n_vocab: int,
        weight_bytes: int,
        breakers: Breakers | None = None,
    ) -> None:
        """Raises InputError for an empty prompt or a token outside the vocabulary, and
        ContextFullError if the prompt leaves no room for a token.
        """
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
        self._max_tokens = options.max_tokens
        self._context_shift = options.context_shift
        self._weight_bytes = weight_bytes
        self._sampler = Sampler(
            options.sampling,
            n_vocab,
            self.seed,
            breakers or {},
            banned=sorted(eog) if options.ignore_eos else (),
        )
        self._stopped = options.cancel.is_set if options.cancel is not None else never
        self._decoder = tokenizer.stream()
        self._stops = StopStrings(options.stop_strings)
        self._history = list(self.prompt)
        self._since = 0.0
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

    @property
    def n_positions(self) -> int:
        """KV positions that it may come to need."""
        if self._max_tokens is None:
            return self._engine.n_ctx
        return min(self._engine.n_ctx, len(self.prompt) + self._max_tokens)

    def run(self, seq: Sequence | None) -> Generator[TokenRecord]:
        """Yields the records; on every way out the sequence is idle, or released if it is ours."""
        engine = self._engine
        used = engine.open() if seq is None else seq
        try:
            record = self.start(used)
            while True:
                yield record
                if record.finish_reason is not None:
                    return
                token = self.next_token(used)
                record = self.take(engine.decode([(used, token)])[0])
        except StoppedError:
            return
        finally:
            engine.park(used, self)
            if seq is None:
                engine.release(used)

    def start(self, seq: Sequence) -> TokenRecord:
        """Computes the prompt on `seq`, which becomes this generation's; the first record."""
        self._since = start = time.perf_counter()
        self._n_cached = self._engine.acquire(seq, self, self.prompt)
        logits = self._engine.prefill(seq, self.prompt[self._n_cached :], stop=self._stopped)
        self._prefill_s = time.perf_counter() - start
        return self.take(logits[0])

    def next_token(self, seq: Sequence) -> int:
        """The token to decode next, with room made for it if the context is full."""
        self._since = time.perf_counter()
        if self._stopped():
            raise StoppedError
        if len(seq) == self._engine.n_ctx:
            self._engine.shift(seq, self._n_keep, stop=self._stopped)
        return self._history[-1]

    def take(self, logits: Logits) -> TokenRecord:
        """Samples from logits (n_vocab,); the record of the token."""
        token, logprob = self._sampler.sample(logits, len(self._history), self._history)
        self._history.append(token)
        self._count(time.perf_counter() - self._since)

        ends = token in self._end_tokens
        text, found = self._stops.push(self._decoder.flush() if ends else self._decoder.push(token))
        finish: FinishReason | None = "stop" if ends or found else None
        if finish is None and self._is_full():
            tail, found = self._stops.push(self._decoder.flush())
            text += tail
            finish = "stop" if found else "length"
        if finish is None:
            return TokenRecord(text, token, logprob)
        text += "" if found else self._stops.flush()
        return TokenRecord(text, token, logprob, finish, self.timings)

    def _count(self, seconds: float) -> None:
        self._n_tokens += 1
        if self._n_tokens == 1:
            self._ttft_s = seconds
        else:
            self._decode_s += seconds

    def _is_full(self) -> bool:
        """Whether max_tokens or, unless it shifts, the context allows no further token."""
        if self._n_tokens == self._max_tokens:
            return True
        return len(self._history) >= self._engine.n_ctx and not self._context_shift


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count > 0 and seconds > 0 else 0.0

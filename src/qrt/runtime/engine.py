"""The engine: runs steps over rows of any sequences and keeps their KV pages in order.

acquire   a sequence for a prompt: what it already holds of that prompt stays
prefill   many rows of one sequence, in chunks; other sequences may run between chunks
decode    one row of each of several sequences
park      the sequence is idle; its pages stay until others need them
release   the sequence ends; its pages are free
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence as Items

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Executor
from qrt.errors import ContextFullError, InputError
from qrt.graph.batch import Batch, Phase
from qrt.runtime.kv import PagePool, Sequence, pages_for

Logits = NDArray[np.float32]
Rows = tuple[Sequence, Items[int]]
"""A sequence and the tokens that a step appends to it."""


def never() -> bool:
    """The stop signal of a call that nobody stops."""
    return False


class StoppedError(Exception):
    """A stop signal was seen between two steps."""


class Engine:
    """Runs sequences on one executor, which it closes when nothing holds the engine any more.

    Thread-safe: one lock is held for each step. A sequence changes only when a step has finished:
    after an error or a KeyboardInterrupt it is as the last finished step left it, and the engine
    can go on.
    """

    def __init__(self, executor: Executor, n_ctx: int) -> None:
        self.n_ctx = n_ctx
        self._executor = executor
        self._pool = PagePool(executor.settings.n_pages)
        self._sequences: weakref.WeakSet[Sequence] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._n_steps = 0
        self._closed = False
        self._free = weakref.finalize(self, executor.close)

    @property
    def max_rows(self) -> int:
        """Rows that one prefill step takes."""
        return self._executor.settings.max_rows

    @property
    def n_pages(self) -> int:
        """KV pages in all."""
        return self._pool.n_pages

    @property
    def n_free_pages(self) -> int:
        """KV pages that no sequence holds."""
        return self._pool.n_free

    def open(self) -> Sequence:
        """A new, empty, idle sequence. One that is let go unreleased loses its pages in time."""
        with self._lock:
            self.check_open()
            seq = Sequence()
            self._sequences.add(seq)
            return seq

    def acquire(self, seq: Sequence, owner: object, tokens: Items[int]) -> int:
        """Gives `seq` to `owner` and cuts it to what it shares with `tokens`; returns that length.

        It is less than len(tokens), so that a last row is left to give logits. Raises InputError
        if the sequence has an owner, or was released.
        """
        with self._lock:
            self.check_open()
            if seq not in self._sequences:
                raise InputError("the session is closed; open another with model.session()")
            if seq.owner is not None:
                raise InputError(
                    "the session is still generating; finish or close the earlier stream first"
                )
            seq.owner = owner
            self._cut(seq, min(seq.common_prefix(tokens), len(tokens) - 1))
            return len(seq)

    def park(self, seq: Sequence, owner: object) -> None:
        """Makes `seq` idle if it is `owner`'s: its pages stay until another sequence needs them."""
        with self._lock:
            if seq.owner is owner:
                seq.owner = None

    def release(self, seq: Sequence) -> None:
        """Ends `seq` and frees its pages; a second time does nothing."""
        with self._lock:
            if seq in self._sequences:
                self._cut(seq, 0)
                self._sequences.discard(seq)

    def prefill(
        self,
        seq: Sequence,
        tokens: Items[int],
        *,
        n_logits: int = 1,
        chunk: int | None = None,
        phase: Phase = "prefill",
        stop: Callable[[], bool] = never,
    ) -> Logits:
        """Appends `tokens` to `seq`, `chunk` rows a step; logits (n_logits, n_vocab) of the last.

        Raises ContextFullError if they do not fit, StoppedError if `stop()` is true between steps.
        """
        if len(seq) + len(tokens) > self.n_ctx:
            raise ContextFullError(
                f"{len(seq) + len(tokens)} tokens do not fit the context of {self.n_ctx}"
            )
        chunk = chunk or self.max_rows
        parts = []
        for start in range(0, len(tokens), chunk):
            if stop():
                raise StoppedError
            rows = tokens[start : start + chunk]
            n_behind = len(tokens) - start - len(rows)
            n_here = min(max(n_logits - n_behind, 0), len(rows))
            parts.append(self._step([(seq, rows)], phase, n_here))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def decode(self, rows: Items[tuple[Sequence, int]]) -> Logits:
        """Appends one token to each of several sequences; logits (n_rows, n_vocab)."""
        return self._step([(seq, [token]) for seq, token in rows], "decode", 1)

    def shift(self, seq: Sequence, n_keep: int, stop: Callable[[], bool] = never) -> None:
        """Makes room: drops the oldest half of what follows the first `n_keep` tokens.

        What stays moves to lower positions, so it is computed again; no key is rotated in place.
        """
        with self._lock:
            rest = seq.tokens[n_keep:]
            self._cut(seq, n_keep)
        kept = rest[(len(rest) + 1) // 2 :]
        if kept:
            self.prefill(seq, kept, stop=stop)

    def close(self) -> None:
        """Stops a step under way and frees weights and pages; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._executor.cancel()
        with self._lock:
            self._sequences.clear()
            self._free()

    def check_integrity(self) -> None:
        """Asserts that no page is lost or doubled and that each sequence has the pages it needs."""
        with self._lock:
            self._pool.check_integrity(self._held())
            for seq in self._sequences:
                assert len(seq.pages) == pages_for(len(seq))

    def check_open(self) -> None:
        """Raises InputError if the engine is closed."""
        if self._closed:
            raise InputError("the model is closed; load it again")

    def _held(self) -> list[int]:
        return [page for seq in self._sequences for page in seq.pages]

    def _step(self, rows: Items[Rows], phase: Phase, n_logits: int) -> Logits:
        """One step; the last `n_logits` rows of each sequence give logits."""
        with self._lock:
            self.check_open()
            self._n_steps += 1
            try:
                for seq, tokens in rows:
                    seq.last_step = self._n_steps
                    self._reserve(seq, len(seq) + len(tokens))
                logits = self._executor.step(_batch(rows, n_logits), phase).copy()
                for seq, tokens in rows:
                    seq.tokens.extend(tokens)
            except BaseException as error:
                self._settle()
                if isinstance(error, Cancelled):
                    raise InputError("the model was closed while it was generating") from None
                raise
            return logits

    def _reserve(self, seq: Sequence, n_positions: int) -> None:
        """Gives `seq` pages for so many positions."""
        n_pages = pages_for(n_positions) - len(seq.pages)
        if n_pages > self._pool.n_free:
            self._make_room(n_pages, seq)
        if n_pages > 0:
            seq.pages.extend(self._pool.alloc(n_pages))

    def _make_room(self, n_pages: int, seq: Sequence) -> None:
        """Empties idle sequences other than `seq`, the longest idle first, until enough is free."""
        self._pool.recount(self._held())  # finds those of sequences that were let go
        idle = [s for s in self._sequences if s.pages and s.owner is None and s is not seq]
        for other in sorted(idle, key=lambda s: s.last_step):
            if self._pool.n_free >= n_pages:
                break
            self._cut(other, 0)

    def _cut(self, seq: Sequence, n_tokens: int) -> None:
        """Keeps the first `n_tokens` of `seq`."""
        del seq.tokens[n_tokens:]
        spare = seq.pages[pages_for(n_tokens) :]
        del seq.pages[pages_for(n_tokens) :]
        self._pool.free(spare)

    def _settle(self) -> None:
        """After a step that failed: a sequence has the pages of its tokens, the rest are free."""
        for seq in self._sequences:
            del seq.pages[pages_for(len(seq)) :]
        self._pool.recount(self._held())


def _batch(rows: Items[Rows], n_logits: int) -> Batch:
    n_rows = [len(tokens) for _, tokens in rows]
    ends = np.cumsum(n_rows)
    positions = [position for seq, tokens in rows for position in _positions(seq, tokens)]
    return Batch(
        tokens=np.array([token for _, tokens in rows for token in tokens], dtype=np.int32),
        positions=np.array(positions, dtype=np.int32),
        table_of=np.repeat(np.arange(len(rows), dtype=np.int32), n_rows),
        page_tables=tuple(np.array(seq.pages, dtype=np.int32) for seq, _ in rows),
        logit_rows=np.concatenate([np.arange(end - n_logits, end, dtype=np.int32) for end in ends]),
    )


def _positions(seq: Sequence, tokens: Items[int]) -> range:
    return range(len(seq), len(seq) + len(tokens))

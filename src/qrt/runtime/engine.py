"""The engine: runs steps for everybody who asks, one thread at a time, and keeps the sequences.

open, fork, encode, append, verify, cut, release   rows of a sequence at a time, for tools and tests
submit, drive, leave                               generations, batched with those of other threads
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import BinaryIO

import numpy as np

from qrt.backends.base import Cancelled, Executor
from qrt.errors import BusyError, ClosedError, ContextFullError
from qrt.graph.state import StateGroup
from qrt.runtime.driver import Driver
from qrt.runtime.health import Health
from qrt.runtime.policy import Limits
from qrt.runtime.prefix_files import PrefixFiles
from qrt.runtime.prefix_tree import Tree
from qrt.runtime.request import Request
from qrt.runtime.scheduler import Scheduler
from qrt.runtime.sequence import Sequence
from qrt.runtime.steps import NO_LOGITS, Logits, Rows, last_rows, run_step
from qrt.runtime.store import Store
from qrt.runtime.stored import StateFile
from qrt.runtime.turns import Alone, Caller, Turns
from qrt.runtime.watch import Watch

_HELD = object()
"""The owner of a sequence that is not idle between two calls."""


class Engine:
    """Runs sequences on one executor, which it closes when nothing holds the engine any more.

    Thread-safe: who needs a step and finds nobody running one leads, and runs steps for all. A
    sequence changes only when a step has succeeded: after an error or a KeyboardInterrupt it is as
    the last such step left it, and the engine can go on. In a child process after a fork, only
    what no other thread was waiting for goes on.
    """

    def __init__(
        self,
        executor: Executor,
        groups: Items[StateGroup],
        n_ctx: int,
        limits: Limits | None = None,
        prefixes: Tree | None = None,
        files: PrefixFiles | None = None,
    ) -> None:
        """`groups` are the state groups of the graph that `executor` runs; `prefixes` is to hold
        what is stored of them, in memory and in `files`.
        """
        self.n_ctx = n_ctx
        self.scales: tuple[float, ...] = ()
        """How much of each adapter is used where nobody says; () for nothing of any."""
        self.limits = limits or Limits(executor.settings.max_rows)
        self._executor = executor
        self._store = Store(groups, executor, prefixes, files)
        self._scheduler = Scheduler(executor, self._store, n_ctx, self.limits)
        self._turns = Turns()
        self._dropped: deque[Callable[[], None]] = deque()
        self._is_settled = True
        self._closed = False
        self.driver = Driver(self)
        self._free = weakref.finalize(self, _free, executor, self.driver, self._store)
        _ENGINES.add(self)

    @property
    def max_rows(self) -> int:
        """Rows that one step takes."""
        return self.limits.max_rows

    @property
    def n_pages(self) -> tuple[int, ...]:
        """Pages or slots of each state group."""
        return tuple(pool.n_pages for pool in self._store.pools)

    @property
    def n_free_pages(self) -> tuple[int, ...]:
        """Those that no sequence refers to; the prefix store lets go of its own when asked."""
        with Alone(self._turns):
            self._tidy()
            return tuple(self._store.n_free)

    def open(self, *, idle: bool = False, scales: tuple[float, ...] | None = None) -> Sequence:
        """A new, empty sequence, to be released.

        idle: what it holds may be dropped whenever others need the room, as that of a session.
        scales: how much of each adapter its rows use; None: as `self.scales` says.
        """
        with Alone(self._turns):
            self.check_open()
            self._tidy()
            seq = self._store.open()
            seq.scales = self.scales if scales is None else scales
            seq.owner = None if idle else _HELD
            return seq

    def fork(self, seq: Sequence) -> Sequence:
        """A second sequence that begins as `seq` stands, and shares what is stored of it."""
        with Alone(self._turns):
            self.check_open()
            self._tidy()
            twin = self._store.fork(seq)
            twin.scales = seq.scales
            twin.owner = _HELD if seq.owner is _HELD else None
            return twin

    def encode(self, seq: Sequence, text: Items[int]) -> None:
        """Has an encoder read a text, in place of what `seq` has; what is appended answers it."""
        self.cut(seq, 0)
        seq.n_encoded = len(text)
        self.step([Rows(seq, list(text), NO_LOGITS)])

    def append(
        self, seq: Sequence, tokens: Items[int], *, n_logits: int = 1, chunk: int | None = None
    ) -> Logits:
        """Appends `tokens` to `seq`, `chunk` rows a step; logits (n_logits, n_vocab) of the last.

        Raises ContextFullError if they do not fit, ClosedError if `seq` was released.
        """
        if len(seq) + len(tokens) > self.n_ctx:
            raise ContextFullError(
                f"{len(seq) + len(tokens)} tokens do not fit the context of {self.n_ctx}"
            )
        chunk = chunk or self.max_rows
        parts = []
        for start in range(0, len(tokens), chunk):
            ids = list(tokens[start : start + chunk])
            n_behind = len(tokens) - start - len(ids)
            n_here = min(max(n_logits - n_behind, 0), len(ids))
            parts.append(self.step([Rows(seq, ids, last_rows(len(ids), n_here))]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def verify(self, seq: Sequence, tokens: Items[int]) -> Logits:
        """Appends drafted tokens in one step, with logits for each.

        Then `cut` goes back to the last that holds, or where that cannot be, to where `seq` stood.
        """
        with Alone(self._turns):
            self._tidy()
            self._store.check(seq)
            self._store.keep(seq)
        return self.append(seq, tokens, n_logits=len(tokens))

    def step(self, rows: Items[Rows]) -> Logits:
        """One step over rows of different sequences; logits (n_logits, n_vocab) in order."""
        with Alone(self._turns):
            self.check_open()
            self._tidy()
            growth = [(part.seq, len(part.tokens)) for part in rows]
            if self._store.short(growth):
                self._store.make_room(growth)
            since, n_rows = perf_counter(), sum(n for _, n in growth)
            try:
                with self._scheduler.pulse.step():
                    logits = run_step(self._executor, self._store, rows).copy()
                for part in rows:
                    self._store.commit(part.seq, part.tokens)
                self._scheduler.counts.count_step(n_rows, n_rows, perf_counter() - since)
            except Cancelled:
                self._is_settled = False
                raise ClosedError(_CLOSED) from None
            except BaseException:
                self._is_settled = False
                raise
            return logits

    def cut(self, seq: Sequence, n_tokens: int) -> int:
        """Cuts `seq` to the nearest length up to `n_tokens` that can be restored; returns it."""
        with Alone(self._turns):
            self._tidy()
            self._store.check(seq)
            return self._store.cut(seq, n_tokens)

    def write_state(self, seq: Sequence, file: BinaryIO, key: bytes) -> None:
        """Writes what is stored of an idle sequence; see `StateFile`, which raises."""
        with Alone(self._turns):
            self._tidy()
            self._check_idle(seq)
            if seq.tokens:
                StateFile(file, self._executor, key).write(seq)

    def read_state(self, seq: Sequence, file: BinaryIO, key: bytes, n_vocab: int) -> int:
        """Puts what was written into an idle sequence, in place of what it has; its tokens."""
        with Alone(self._turns):
            self._tidy()
            self._check_idle(seq)
            self._store.cut(seq, 0)
            StateFile(file, self._executor, key).read(
                seq, n_vocab, self.n_ctx, lambda n: self._store.make_room([(seq, n)])
            )
            return len(seq)

    def drop_prefixes(self) -> None:
        """Forgets what is stored for prompts to come; sequences keep what they have."""
        with Alone(self._turns):
            self._tidy()
            self._store.prefixes.clear()

    def release(self, seq: Sequence) -> None:
        """Ends `seq`, and a generation on it, and frees its pages; a second time does nothing."""
        self._when_alone(partial(self._scheduler.release, seq))

    def submit(self, request: Request) -> None:
        """Puts a request in the queue. Raises ClosedError, BusyError or FullError."""
        self.check_open()
        if request.seq is not None and request.seq.owner is not None:
            with Alone(self._turns):
                self._tidy()  # its last generation may have been let go
        self._scheduler.submit(request)

    def drive(self, caller: Caller) -> None:
        """Returns once `caller` is ready; runs steps for all until then, if nobody else does."""
        try:
            leads = self._turns.lead(caller)
            while leads and not caller.ready():
                self._round()
                leads = self._turns.between_steps(caller)
        except BaseException:
            if caller.leads:
                self._is_settled = False
            raise
        finally:
            caller.leads = False
            self._turns.give(caller)
            if self._closed:
                self.close()

    def leave(self, request: Request, error: BaseException | None = None) -> None:
        """Ends a request before its time, for which `error` is the reason; again does nothing."""
        if not request.has_ended:
            self._when_alone(partial(self._scheduler.end, request, error))

    def end_with(self, handle: object, request: Request) -> weakref.finalize[..., object]:
        """Ends a request once `handle` is collected."""
        return self._finalizer(handle, partial(self._scheduler.end, request))

    def release_with(self, handle: object, seq: Sequence) -> weakref.finalize[..., object]:
        """Releases a sequence once `handle` is collected."""
        return self._finalizer(handle, partial(self._scheduler.release, seq))

    def close(self) -> None:
        """Stops a step under way and frees weights and pages; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._executor.cancel()
        if self._turns.is_leading() or not self._free.alive:
            return  # a step of this thread, from which it was called, closes when it has ended
        with Alone(self._turns):
            self._scheduler.end_all(ClosedError(_CLOSED))
            self.driver.tell()
            self._free()

    def health(self) -> Health:
        """How it is now, without waiting for a step."""
        pulse, now = self._scheduler.pulse, perf_counter()
        since = pulse.step_since
        return Health(
            step_s=0.0 if since is None else now - since,
            idle_s=max(now - pulse.step_end, 0.0) if since is None else 0.0,
            is_stuck=since is not None and now - since >= self.limits.stuck_s,
            n_pages=self.n_pages,
            n_free_pages=tuple(self._store.n_free),
            generations=self._scheduler.generations(),
            counts=replace(self._scheduler.counts),
        )

    def watch(self) -> Watch:
        """A thread that sees to steps that hang, to be closed."""
        return Watch(self._scheduler.pulse, self.limits.stuck_s, self.driver.is_idle)

    def check_integrity(self) -> None:
        """Asserts that every page is free or counted, and that each sequence has what it needs."""
        with Alone(self._turns):
            self._tidy()
            self._store.check_integrity()

    def check_open(self) -> None:
        """Raises ClosedError if the engine is closed."""
        if self._closed:
            raise ClosedError(_CLOSED)

    def _check_idle(self, seq: Sequence) -> None:
        self.check_open()
        self._store.check(seq)
        if seq.owner is not None:
            raise BusyError("the session is generating; finish or close its stream first")

    def _round(self) -> None:
        self._tidy()
        try:
            if self._closed:
                raise Cancelled
            with self._scheduler.pulse.step():
                self._scheduler.round()
        except Cancelled:
            self._scheduler.settle()
            self._scheduler.end_all(ClosedError(_CLOSED))
        self.driver.tell()

    def _tidy(self) -> None:
        """Puts right what an interrupt cut short; ends what belonged to collected handles, and what
        was told to stop or has no time left.
        """
        if not self._is_settled:
            self._scheduler.settle()
            self._is_settled = True
        has_dropped = bool(self._dropped)
        while self._dropped:
            self._is_settled = False
            self._dropped[0]()  # an interrupt leaves it there
            self._dropped.popleft()
            self._is_settled = True
        if self._scheduler.end_stopped() or has_dropped:
            self.driver.tell()

    def _finalizer(
        self, handle: object, change: Callable[[], None]
    ) -> weakref.finalize[..., object]:
        """The collector may run anywhere, so that it only leaves word for the next step."""
        finalizer = weakref.finalize(handle, self._dropped.append, change)
        finalizer.atexit = False
        return finalizer

    def _when_alone(self, change: Callable[[], None]) -> None:
        """Makes a change between two steps: now, or if this thread is in a step, after it."""
        self._dropped.append(change)
        if not self._turns.is_leading():
            with Alone(self._turns):
                self._tidy()

    def _revive(self) -> None:
        """In a child process after a fork."""
        self._turns.reset()
        self.driver.reset()
        self._scheduler.revive(ClosedError("its thread is in the parent process; start it again"))


_CLOSED = "the model is closed; load it again"
_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _free(executor: Executor, driver: Driver, store: Store) -> None:
    driver.close()
    store.close()
    executor.close()


def _after_fork() -> None:
    for engine in list(_ENGINES):
        engine._revive()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

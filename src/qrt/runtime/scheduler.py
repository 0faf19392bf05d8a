"""Runs requests: admits them, computes what the policy chooses, gives each its tokens."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from operator import attrgetter

from qrt.backends.base import Cancelled, Executor
from qrt.errors import BusyError, ClosedError, DeadlineError, FullError
from qrt.runtime import policy
from qrt.runtime.health import Counts, Pulse, Running
from qrt.runtime.policy import Limits
from qrt.runtime.request import Request
from qrt.runtime.sampling import Taker, prepare
from qrt.runtime.sequence import Sequence
from qrt.runtime.steps import NO_LOGITS, Rows, last_rows, run_step
from qrt.runtime.store import Growth, Store
from qrt.runtime.watch import Stuck

_ENDS = 16
"""Ends of generations that tell how soon there will be room."""
_LEAST_WAIT_S, _MOST_WAIT_S = 0.05, 60.0
_HANGS = "a function of the caller's, or a constraint, ran for more than {:g} s"

_rank = attrgetter("rank")

Work = list[tuple[Request, int]]
"""Requests and the rows of each that a step computes."""


class Scheduler:
    """The requests of an engine. All but `submit` and `generations` is called by the leader.

    A request is in `_live` from `submit` until it has ended; the other lists follow from that.
    Since `submit` adds to `_live` and `_waiting` at any time, they are copied to be walked through.
    """

    def __init__(self, executor: Executor, store: Store, n_ctx: int, limits: Limits) -> None:
        self._executor = executor
        self._store = store
        self._n_ctx = n_ctx
        self._limits = limits
        self._numbers = itertools.count(1)
        self._live: dict[Request, None] = {}
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []  # by rank
        self._lock = threading.Lock()  # of `submit`
        self._ends: deque[float] = deque(maxlen=_ENDS)
        self.counts = Counts()
        self.pulse = Pulse()

    def submit(self, request: Request) -> None:
        """Puts a request in the queue, from any thread.

        Raises ClosedError or BusyError for its sequence, FullError if too many wait.
        """
        with self._lock:
            if request.seq is not None:
                self._store.check(request.seq)
                if request.seq.owner is not None:
                    raise BusyError(
                        "the session is still generating; finish or close the earlier stream first"
                    )
            limit = self._limits.max_waiting
            if sum(other.is_wanted for other in list(self._waiting)) >= limit:
                message = f"{limit} generations wait already; ask again later"
                raise FullError(message, self._seconds_between_ends())
            if request.seq is not None:
                request.seq.owner = request
            request.number = next(self._numbers)
            request.generation.start()
            self._live[request] = None
            self._waiting.append(request)

    def end_stopped(self) -> bool:
        """Ends what was told to stop, and what has no time left; whether there was any."""
        now, n_live = time.perf_counter(), len(self._live)
        for request in list(self._live):
            generation = request.generation
            if generation.is_stopped():
                self.end(request)
            elif generation.deadline <= now:
                if not generation.records:
                    self.end(request, DeadlineError("its time was up before its first token"))
                elif request in self._waiting or not request.is_wanted:
                    self.end(request)  # else its next token is its last
        return len(self._live) < n_live

    def generations(self) -> tuple[Running, ...]:
        """All that runs or waits; from any thread."""
        return tuple(
            Running(
                request.number,
                request.generation.priority,
                request not in self._running,
                len(request.generation.prompt),
                request.n_stored,
                len(request.generation.records),
            )
            for request in list(self._live)
        )

    def round(self) -> None:
        """One step for all that can run now."""
        if self._waiting:
            self._admit()
        running = self._running
        if len(running) == 1:
            jobs = running if running[0].is_wanted else []
        else:
            jobs = [each for each in running if each.is_wanted or each.may_run_ahead()]
        jobs = self._apart(jobs)
        work = policy.plan(jobs, self._limits, at_borders=self._store.has_states)
        work = self._fitting(work)
        if work:
            self._compute(work)

    def end(self, request: Request, error: BaseException | None = None) -> None:
        """Ends a request, which `error` tells why; a second time does nothing."""
        if request.has_ended:
            return
        request.error = error
        if request in self._running:
            self._running.remove(request)
        if request in self._waiting:
            self._waiting.remove(request)
        if request.seq is not None and request.seq.owner is request:
            request.seq.owner = None
            if request.has_own:
                self._store.release(request.seq)
            else:
                self._store.write(request.seq)
        request.has_ended = True
        self._live.pop(request, None)
        self._ends.append(time.perf_counter())
        self.counts.n_ended += 1

    def end_all(self, error: BaseException) -> None:
        """Ends every request."""
        for request in list(self._live):
            self.end(request, error)

    def release(self, seq: Sequence) -> None:
        """Ends a sequence, and the request that runs on it; a second time does nothing."""
        if isinstance(seq.owner, Request):
            self.end(
                seq.owner, ClosedError("the session is closed; open another with model.session()")
            )
        self._store.release(seq)

    def settle(self) -> None:
        """After an interrupt: every sequence is as the last finished step left it, and every
        request is where it can go on from.
        """
        self._store.settle()
        self._running = list(dict.fromkeys(self._running))
        for request in list(self._live):
            request.generation.mend()
            if request.error is not None or request.generation.is_finished:
                self.end(request, request.error)
            elif request in self._running:
                self._align(request)
                while request in self._waiting:
                    self._waiting.remove(request)
            elif request not in self._waiting:
                self._waiting.appendleft(request)
        self._running = [request for request in self._running if not request.has_ended]

    def revive(self, error: BaseException) -> None:
        """In a child process: ends the requests whose threads do not exist in it."""
        self._lock = threading.Lock()
        self.pulse = Pulse()
        self.settle()
        for request in list(self._live):
            request.reading = threading.Lock()
            if request.wanted:
                self.end(request, error)

    def _admit(self) -> None:
        """Starts those that wait, in order, while there is room."""
        wanted = [request for request in self._running if request.is_wanted]
        others = [request.sequence for request in self._running if not request.is_wanted]
        room = self._store.room(others)
        for request in wanted:
            room = _less(room, self._need(request))
        n_running = len(wanted)
        waiting = [each for each in list(self._waiting) if each.is_wanted]
        for request in sorted(waiting, key=_rank):
            need = self._need(request)
            if not policy.admits(need, room, n_running, self._limits):
                need = _less(need, self._shared(request))
                if not policy.admits(need, room, n_running, self._limits):
                    break
            room = _less(room, need)
            n_running += 1
            self._start(request)

    def _need(self, request: Request) -> tuple[int, ...]:
        return self._store.need(request.seq, len(request.generation.context) + 1)

    def _shared(self, request: Request) -> tuple[int, ...]:
        """Pages that it would have in common with those that run, if it has none yet."""
        if request.n_stored:
            return (0,) * len(self._store.pools)
        running = [each.sequence for each in self._running]
        generation = request.generation
        return self._store.shared(running, generation.context, generation.salt)

    def _apart(self, jobs: list[Request]) -> list[Request]:
        """Those of the jobs that do not wait for a page which one before them computes; prompts
        first take what others have computed since they began."""
        chosen, pages = [], set[bytes]()
        for request in jobs:
            if request.n_left > 1:
                generation = request.generation
                found = self._store.catch_up(request.sequence, generation.context, generation.salt)
                generation.n_cached += 0 if generation.records else found
                page = self._store.prefixes.next_page(request.sequence, generation.context)
                if page in pages or request.sequence.may_read:
                    continue
                pages |= {page} if page else set()
            chosen.append(request)
        return chosen

    def _start(self, request: Request) -> None:
        generation = request.generation
        if request.seq is None:
            request.seq = self._store.open()
            request.seq.owner = request
        seq, wanted = request.seq, (generation.scales, generation.n_encoded)
        if (seq.scales, seq.n_encoded) != wanted:
            self._store.set_aside(seq)
            seq.scales, seq.n_encoded = wanted
        n_stored = self._store.restore(request.seq, generation.context, generation.salt)
        if not generation.records:
            generation.n_cached = n_stored
        self._running.append(request)
        self._running.sort(key=_rank)
        self._waiting.remove(request)
        if (failed := self._tell_prompt(request)) is not None:
            self.end(request, failed)

    def _fitting(self, work: Work) -> Work:
        """What of the work there are pages for, those of others let go; at least the first."""
        growth = _growth(work)
        if not self._store.short(growth) or self._store.make_room(growth):
            return work
        for victim in policy.victims(self._running):
            self._preempt(victim)
            work = [(request, n_rows) for request, n_rows in work if request is not victim]
            if not self._store.short(_growth(work)):
                break
        return work

    def _preempt(self, request: Request) -> None:
        """Takes its pages; it waits to be computed again, before those that came later."""
        self.counts.n_preempted += 1
        self._waiting.appendleft(request)
        self._running.remove(request)
        self._store.set_aside(request.sequence)

    def _compute(self, work: Work) -> None:
        """One step; where it fails, each request alone, so that only the guilty one ends."""
        since = time.perf_counter()
        rows = [_rows(request, n_rows) for request, n_rows in work]
        try:
            logits = run_step(self._executor, self._store, rows)
        except Cancelled:
            raise
        except Exception as error:
            self._store.settle()
            if len(work) == 1:
                self.end(work[0][0], error)
                return
            for each in work:
                self._compute([each])
            return
        seconds = time.perf_counter() - since
        n_rows = sum(n for _, n in work)
        n_prompt_rows = n_rows - sum(_decodes(request, n) for request, n in work)
        going = [
            request for (request, _), part in zip(work, rows, strict=True) if len(part.logit_rows)
        ]
        takers = {request: Taker(request, row) for request, row in zip(going, logits, strict=True)}
        if takers:
            prepare(self._executor, list(takers.values()), self._attempt)
        for (request, _), part in zip(work, rows, strict=True):
            if not request.generation.records:
                request.generation.count_prompt(seconds)
            self._give(request, part, takers.get(request), since)
        self.counts.count_step(n_prompt_rows, n_rows, time.perf_counter() - since)

    def _give(self, request: Request, part: Rows, taker: Taker | None, since: float) -> None:
        """The token that follows, if the rows end the context; then what they stored counts."""
        generation = request.generation
        n_before = len(generation.records)
        if taker is not None and taker.failed is None:
            self._attempt(taker, partial(generation.take, taker.row, since))
        self.counts.n_tokens += len(generation.records) - n_before
        if not n_before and generation.records:
            self.counts.n_cached_tokens += generation.n_cached
        self._store.commit(part.seq, part.tokens, keep=len(part.tokens) > 1 and taker is not None)
        failed = None if taker is None else taker.failed
        if failed is None and not n_before:
            failed = self._tell_prompt(request)
        if failed is not None or generation.is_finished:
            self.end(request, failed)
        else:
            self._align(request)

    def _tell_prompt(self, request: Request) -> Exception | None:
        """Tells how far its prompt is, if somebody wants to know; why that failed."""
        generation = request.generation
        if not generation.tells_prompt:
            return None
        return self._failure(request, partial(generation.tell_prompt, request.n_stored))

    def _attempt(self, taker: Taker, call: Callable[[], None]) -> None:
        """Makes a call for one generation, which ends alone where it fails or hangs."""
        taker.failed = self._failure(taker.request, call)

    def _failure(self, request: Request, call: Callable[[], None]) -> Exception | None:
        """Why a call for one generation failed, if it did."""
        try:
            with self.pulse.calling(request) if request.generation.has_hooks else nullcontext():
                call()
        except Exception as error:
            return error
        except Stuck:
            self.pulse.hook = None
            return DeadlineError(_HANGS.format(self._limits.stuck_s))
        return None

    def _seconds_between_ends(self) -> float:
        """How long it lately took until one of those that run ended; 1 s where nobody knows."""
        ends = list(self._ends)
        seconds = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else 1.0
        return min(max(seconds, _LEAST_WAIT_S), _MOST_WAIT_S)

    def _align(self, request: Request) -> None:
        """Cuts its sequence to what is left of it in the context, when that was shifted."""
        generation = request.generation
        if generation.n_valid < self._n_ctx:
            self._store.cut(request.sequence, generation.n_valid)
            generation.n_valid = self._n_ctx


def _rows(request: Request, n_rows: int) -> Rows:
    """The next rows of a request; the last of its context gives logits."""
    start = request.n_stored
    context = request.generation.context
    is_last = start + n_rows == len(context)
    logit_rows = last_rows(n_rows, 1) if is_last else NO_LOGITS
    return Rows(request.sequence, context[start : start + n_rows], logit_rows)


def _decodes(request: Request, n_rows: int) -> bool:
    return n_rows == 1 and bool(request.generation.records)


def _growth(work: Work) -> list[Growth]:
    return [(request.sequence, n_rows) for request, n_rows in work]


def _less(room: tuple[int, ...], need: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(free - needed for free, needed in zip(room, need, strict=True))

"""Generation: a prompt's tokens in, one record per sampled token out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from qrt.errors import BusyError, CancelledError, ClosedError
from qrt.runtime.constraint import ConstraintFactory
from qrt.runtime.driver import Feed
from qrt.runtime.engine import Engine
from qrt.runtime.generation import Generation
from qrt.runtime.policy import AHEAD_OF_LOOP
from qrt.runtime.records import Timings, TokenRecord
from qrt.runtime.request import UNTIL_IT_ENDS, Request
from qrt.runtime.sequence import Sequence
from qrt.runtime.turns import Caller

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

_ONE_READER = "another thread is reading this stream; give each thread its own"


class Stream(Iterator[TokenRecord]):
    """One generation: iterate to run it; close it, or let go of it, to end it early.

    The prompt is computed when the first record is asked for. Alone, each token is computed when
    it is asked for; while other threads generate, a few tokens may be computed ahead.
    """

    def __init__(self, engine: Engine, generation: Generation, seq: Sequence | None = None) -> None:
        """Works on `seq` and leaves it idle, or on a sequence of its own."""
        self._engine = engine
        self._request = Request(generation, seq)
        self._caller = Caller(self._request.is_ready)
        self._finalizer = engine.end_with(self, self._request)

    @property
    def seed(self) -> int:
        """The seed of this generation's random numbers."""
        return self._request.generation.seed

    @property
    def n_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self._request.generation.prompt)

    @property
    def constrain(self) -> ConstraintFactory | None:
        """What made the constraint that the answer is held to."""
        return self._request.generation.constrain

    @property
    def timings(self) -> Timings:
        """The timings so far."""
        return self._request.generation.timings

    def __repr__(self) -> str:
        generation = self._request.generation
        if generation.is_finished:
            state = str(generation.records[-1].finish_reason)
        elif self._request.has_ended:
            state = "ended"
        else:
            state = "running" if self._request.number else "not begun"
        return f"<qrt.Stream, {len(generation.records)} tokens, seed {self.seed}, {state}>"

    def read(self) -> list[TokenRecord]:
        """Runs it to its end; the records that were not read yet."""
        request = self._request
        if not request.has_ended:
            self._await(UNTIL_IT_ENDS)
        records = request.generation.records[request.n_read :]
        request.n_read += len(records)
        if request.error is not None:
            raise request.error
        return records

    def close(self) -> None:
        """Ends the generation; its KV pages are kept for the session's next turn, or freed.

        A thread that waits for its next record gets CancelledError.
        """
        error = None
        if self._request.reading.locked():
            error = CancelledError("the stream was closed while it was read")
        self._engine.leave(self._request, error)
        self._request.n_read = len(self._request.generation.records)

    def _await(self, n_records: int) -> None:
        """Waits for so many records, or for the end. Raises BusyError in a second thread.

        An interrupt ends the generation.
        """
        request = self._request
        if not request.reading.acquire(False):
            raise BusyError(_ONE_READER)
        try:
            request.wanted = n_records
            if not request.number:
                self._engine.submit(request)
            self._engine.drive(self._caller)
        except BaseException:
            if request.number:
                self._engine.leave(request)
            raise
        finally:
            request.wanted = 0
            request.reading.release()
        if request.has_ended:
            self._finalizer.detach()

    def __next__(self) -> TokenRecord:
        request = self._request
        records = request.generation.records
        if request.generation.is_stopped():
            self.close()
        elif request.n_read == len(records) and not request.has_ended:
            self._await(request.n_read + 1)
        if isinstance(request.error, ClosedError) or request.n_read == len(records):
            if request.error is not None:
                raise request.error
            raise StopIteration
        record = records[request.n_read]
        request.n_read += 1
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def follow(stream: Stream, loop: asyncio.AbstractEventLoop, *, each: bool) -> Feed:
    """Begins a stream for a task of `loop`, which alone reads it from then on; see `Feed`.

    Raises what `Stream.read` does when it begins.
    """
    engine, request = stream._engine, stream._request
    if not request.reading.acquire(False):
        raise BusyError(_ONE_READER)
    request.wanted = AHEAD_OF_LOOP if each else UNTIL_IT_ENDS
    engine.submit(request)
    feed = Feed(engine.driver, stream, request, loop, each=each)
    try:
        engine.driver.follow(engine, feed, loop)
    except BaseException:
        engine.leave(request)
        raise
    return feed

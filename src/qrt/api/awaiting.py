"""Generations that an event loop waits for: each runs in a thread of its own.

A task that is cancelled ends its generation and is done when that has ended, a step later: its
pages are free then, and its session may go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from qrt.api.completion import Completion, collect
from qrt.runtime.generate import Stream
from qrt.runtime.policy import AHEAD
from qrt.runtime.records import TokenRecord

Start = Callable[[Callable[[], bool]], Stream]
"""Makes the stream, which ends before its next step once the argument says so."""

_Result = TypeVar("_Result")


class Rooms:
    """Room for so many generations at a time, in each event loop; further tasks wait for it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._of_loop: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def here(self) -> asyncio.Semaphore:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            self._of_loop = {
                other: room for other, room in self._of_loop.items() if not other.is_closed()
            } | {loop: asyncio.Semaphore(self._size)}
        return self._of_loop[loop]


async def finished(start: Start, rooms: Rooms) -> Completion:
    """Runs a stream to its end, once there is room."""
    stopped = threading.Event()
    async with rooms.here():
        future = _begin(lambda: collect(start(stopped.is_set)))
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([future])
            future.exception()  # nobody else will look
            raise
        return future.result()


async def records(start: Start) -> AsyncGenerator[TokenRecord, None]:
    """The records of a stream, of which a few are computed ahead of the reader."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[TokenRecord | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)
    stopped = threading.Event()

    def work() -> None:
        try:
            with start(stopped.is_set) as stream:
                for record in stream:
                    _tell(loop, ready.put_nowait, record)
                    room.acquire()
        finally:
            _tell(loop, ready.put_nowait, None)

    future = _begin(work)
    try:
        while (record := await ready.get()) is not None:
            room.release()
            yield record
    finally:
        stopped.set()
        room.release()
        await asyncio.wait([future])
        error = future.exception()
    if error is not None:
        raise error


def _begin(work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Runs `work` in a new thread; what it returns or raises."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            _tell(loop, future.set_exception, error)
        else:
            _tell(loop, future.set_result, result)

    threading.Thread(target=run, name="qrt-async", daemon=True).start()
    return future


def _tell(
    loop: asyncio.AbstractEventLoop, call: Callable[[_Result], object], value: _Result
) -> None:
    """Makes a call in the loop's thread; nobody waits for it in a loop that was closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, value)

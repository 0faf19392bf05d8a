"""Generations that an event loop waits for: the engine's thread runs their steps.

A task that is cancelled ends its generation and is done when that has ended, a step later: its
pages are free then, and its session may go on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import TypeVar

from qrt.api.chat_stream import ChatStream
from qrt.api.completion import Completion, collect
from qrt.replies import Event
from qrt.runtime.driver import Feed
from qrt.runtime.generate import Stream, follow
from qrt.runtime.policy import AHEAD_OF_LOOP
from qrt.runtime.records import TokenRecord

Start = Callable[[Callable[[], bool]], Stream]
"""Makes the stream, which ends before its next step once the argument says so. It is called in a
thread: a template, or a long prompt, takes its time."""


Result = TypeVar("Result")


async def called(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Runs `work` in a thread; it ends between two steps once its argument says so, and when the
    task is cancelled that is waited for."""
    stopped = threading.Event()
    running = asyncio.get_running_loop().run_in_executor(None, work, stopped.is_set)
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([running])
        running.exception()  # nobody else asks for it
        raise
    return running.result()


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
    async with rooms.here(), _Fed(start, each=False) as feed:
        await feed.end()
        return collect(feed.stream)


async def records(start: Start) -> AsyncGenerator[TokenRecord, None]:
    """The records of a stream, of which a few are computed ahead of the reader."""
    async with _Fed(start, each=True) as feed:
        while came := await feed.next(1):
            yield came[0]


async def batches(start: Start) -> AsyncGenerator[list[TokenRecord], None]:
    """Those records in lists, each of all that came since the last was asked for."""
    async with _Fed(start, each=True) as feed:
        while came := await feed.next(AHEAD_OF_LOOP):
            yield came


async def events(start: Callable[[Callable[[], bool]], ChatStream]) -> AsyncGenerator[Event, None]:
    """What the reply of a stream consists of."""
    async with _Fed(start, each=True) as feed:
        stream = feed.stream
        assert isinstance(stream, ChatStream)
        reader = stream.reader()
        while came := await feed.next(1):
            for event in reader.push(came[0]):
                yield event
        for event in reader.flush():
            yield event


class _Fed:
    """A stream that is begun for the running task, and has ended when its block is left."""

    def __init__(self, start: Start, *, each: bool) -> None:
        self._start, self._each = start, each
        self._stopped = threading.Event()

    async def __aenter__(self) -> Feed:
        loop = asyncio.get_running_loop()

        def begin() -> Feed:
            return follow(self._start(self._stopped.is_set), loop, each=self._each)

        self._begun = loop.run_in_executor(None, begin)
        try:
            await asyncio.wait([self._begun])
        except asyncio.CancelledError:
            await self._end()
            raise
        return self._begun.result()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        self._stopped.set()
        await asyncio.wait([self._begun])
        if self._begun.exception() is None:
            await self._begun.result().end()

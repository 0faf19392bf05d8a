"""An engine's own thread, which runs steps for what event loops wait for; nobody blocks on it.

Whoever leads a step, this thread or one that reads a stream, tells each loop once that there is
news; in the loop, each `Feed` then looks for its own.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from qrt.errors import ClosedError
from qrt.runtime.policy import AHEAD_OF_LOOP
from qrt.runtime.turns import Caller

if TYPE_CHECKING:
    import asyncio

    from qrt.runtime.engine import Engine
    from qrt.runtime.generate import Stream
    from qrt.runtime.records import TokenRecord
    from qrt.runtime.request import Request
    from qrt.runtime.watch import Watch


_PAUSE_S = 0.008
"""How long a loop that had news waits for more: less than a screen needs to show it."""


class Feed:
    """The records of a submitted generation, for one task of an event loop.

    Up to `AHEAD_OF_LOOP` of them are computed before the task asks for them: a slow reader is
    waited for.
    """

    __slots__ = ("_driver", "_each", "_loop", "_news", "request", "stream")

    def __init__(
        self,
        driver: Driver,
        stream: Stream,
        request: Request,
        loop: asyncio.AbstractEventLoop,
        *,
        each: bool,
    ) -> None:
        """`request` is that of `stream`. each: its task wants every record as it comes, else only
        to know when it has ended.
        """
        self.stream = stream
        self.request = request
        self._driver = driver
        self._loop = loop
        self._each = each
        self._news: asyncio.Future[None] | None = None

    async def next(self, most: int) -> list[TokenRecord]:
        """The next records, all that are there up to `most`; none behind the last. Raises what
        ended the generation."""
        request = self.request
        while True:
            records = request.generation.records
            if request.n_read < len(records) and not isinstance(request.error, ClosedError):
                came = records[request.n_read : request.n_read + most]
                request.n_read += len(came)
                if not request.has_ended:
                    request.wanted = request.n_read + AHEAD_OF_LOOP
                    self._driver.ring()
                return came
            if request.has_ended:
                if request.error is not None:
                    raise request.error
                return []
            await self._wait()

    async def end(self) -> None:
        """Waits until the generation has ended, by itself or because it was told to stop."""
        self._each = False
        self._driver.ring()
        while not self.request.has_ended:
            await self._wait()

    def has_news(self) -> bool:
        """Whether its task would go on if it waits."""
        request = self.request
        n_records = len(request.generation.records)
        return request.has_ended or (self._each and request.n_read < n_records)

    def look(self) -> bool:
        """In the loop's thread: wakes the task, if there is news; whether there was any."""
        has_news = self.has_news()
        if has_news and self._news is not None and not self._news.done():
            self._news.set_result(None)
        return has_news

    def needs_steps(self) -> bool:
        """Whether somebody waits for its next token, or for its end."""
        request = self.request
        return not request.has_ended and (
            request.is_wanted
            or request.generation.is_stopped()
            or request.generation.deadline <= perf_counter()
        )

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        try:
            if not self.has_news():
                await self._news
        finally:
            self._news = None


class Desk:
    """The feeds of one event loop, which is told of news at most once at a time.

    A loop that rests is told at once. One that had news looks again by itself a moment later, and
    sooner only where a generation has ended: waking it for every token would cost a small model
    a tenth of its speed.
    """

    __slots__ = ("_again", "_is_told", "_loop", "feeds")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.feeds: dict[Feed, None] = {}
        self._loop = loop
        self._is_told = False
        self._again: asyncio.TimerHandle | None = None

    def tell(self) -> bool:
        """From any thread; False where the loop was closed and nobody will look."""
        if not self._is_told and any(self._is_due(feed) for feed in list(self.feeds)):
            self._is_told = True
            try:
                self._loop.call_soon_threadsafe(self._look)
            except RuntimeError:
                return False
        return True

    def _is_due(self, feed: Feed) -> bool:
        return feed.request.has_ended or (self._again is None and feed.has_news())

    def _look(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._is_told = False
        has_news = False
        for feed in list(self.feeds):
            if feed.request.has_ended:
                del self.feeds[feed]
            has_news = feed.look() or has_news
        if has_news and self.feeds:
            self._again = self._loop.call_later(_PAUSE_S, self._look)


class Driver:
    """Starts its thread when the first feed comes; it ends with the engine, which it does not keep.

    What a step raises that no generation is guilty of ends those of the feeds.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Forgets thread and feeds: those of a child process do not exist in it."""
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._caller = Caller(self.is_idle)
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None
        self._desks: dict[asyncio.AbstractEventLoop, Desk] = {}

    def follow(self, engine: Engine, feed: Feed, loop: asyncio.AbstractEventLoop) -> None:
        """Runs steps of its engine for a feed of `loop`, in whose thread or another."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="qrt-engine", daemon=True)
                thread.start()
                self._thread = thread
                self._watch = engine.watch()
            desks = {other: desk for other, desk in self._desks.items() if desk.feeds}
            desk = desks.setdefault(loop, Desk(loop))
            desk.feeds[feed] = None
            self._desks = desks
        self.ring()

    def ring(self) -> None:
        """Wakes the thread, if it sleeps, to look for what needs steps."""
        if not self._bell.is_set():
            self._bell.set()

    def tell(self) -> None:
        """After a change: tells each loop that there is news, if there is."""
        for loop, desk in list(self._desks.items()):
            if not desk.tell():
                self._desks.pop(loop, None)
                self._leave(desk.feeds, None)

    def close(self) -> None:
        """Ends the thread, once it sleeps."""
        self._closed = True
        self.ring()
        if self._watch is not None:
            self._watch.close()

    def _feeds(self) -> list[Feed]:
        return [feed for desk in list(self._desks.values()) for feed in list(desk.feeds)]

    def is_idle(self) -> bool:
        """Whether no feed needs a step."""
        return not any(feed.needs_steps() for feed in self._feeds())

    def _serve(self) -> None:
        """The thread's life. It keeps the engine only while something needs steps."""
        while not self._closed:
            self._bell.wait(self._seconds_to_deadline())
            self._bell.clear()
            engine = self._engine()
            if engine is None:
                return
            if self._watch is not None:
                self._watch.ring()
            try:
                engine.drive(self._caller)
            except BaseException as error:
                feeds = self._feeds()
                try:
                    self._leave(feeds, error)
                except BaseException:  # what the engine holds is lost, but nobody waits for it
                    for feed in feeds:
                        feed.request.fail(error)
                    self.tell()
            del engine

    def _seconds_to_deadline(self) -> float | None:
        """Until the first feed is overdue; None if none ever is."""
        going = [feed.request for feed in self._feeds() if not feed.request.has_ended]
        first = min((request.generation.deadline for request in going), default=math.inf)
        return None if first == math.inf else max(first - perf_counter(), 0)

    def _leave(self, feeds: Iterable[Feed], error: BaseException | None) -> None:
        engine = self._engine()
        if engine is not None:
            for feed in list(feeds):
                engine.leave(feed.request, error)

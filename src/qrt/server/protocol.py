"""What uvicorn leaves open on a connection: deadlines for headers, bounds, readers that stall."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from qrt.server.config import ServerConfig
from qrt.server.errors import OPENAI, RefusedError

_WANTED_FILES = 65536
_OTHER_FILES = 256
"""Descriptors that are not connections."""

_PHRASES = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
_UVICORN: Any = AutoHTTPProtocol

if TYPE_CHECKING:
    Idle = dict["BoundedProtocol", None]


def most_connections() -> int:
    """How many there is room for; asks the system for more descriptors first."""
    if sys.platform == "win32":
        return 2048
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft == resource.RLIM_INFINITY:
        return _WANTED_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(soft - _OTHER_FILES, 16)


def protocol_class(config: ServerConfig) -> type[asyncio.Protocol]:
    """uvicorn's protocol with the bounds of one server."""
    shared: dict[str, Any] = {"bounds": config, "most": most_connections(), "idle": {}}
    return type("Protocol", (BoundedProtocol,), shared)


class BoundedProtocol(_UVICORN):  # type: ignore[misc]
    """A connection. `idle` has those that wait for a request, the one that waits longest first:
    it makes room for a new one where there is none."""

    bounds: ServerConfig
    most: int
    idle: Idle

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The first request may take its time, but not for ever."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._n_bytes = 0
        if len(self.connections) > self.most:
            longest = next(iter(self.idle), None)
            if longest is None:
                transport.abort()
                return
            longest.transport.abort()
            self.idle.pop(longest, None)
        self.idle[self] = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited of it any more."""
        self.idle.pop(self, None)
        for timer in (self._deadline, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what is no request yet."""
        super().data_received(data)
        if not self._is_between():
            self.idle.pop(self, None)
            self._n_bytes = 0
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            return
        self._n_bytes += len(data)
        if self._n_bytes > (self.bounds.max_body if self._is_rest() else self._most_head()):
            self._refuse(431, "the headers are too large")
        elif self._deadline is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        """It waits for the next request."""
        self.idle[self] = None
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Its reader does not keep up; it has a while to do so."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self.bounds.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _is_between(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _is_rest(self) -> bool:
        """Whether what comes is the rest of a body that was refused."""
        return self.cycle is not None and self.cycle.more_body

    def _most_head(self) -> int:
        return 2 * self.bounds.max_header_bytes

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.bounds.head_s, self._time_out)

    def _time_out(self) -> None:
        self._refuse(408, "the request came too slowly")

    def _refuse(self, status: int, message: str) -> None:
        """Says why, unless it was answered already, and closes the connection."""
        if self.transport.is_closing():
            return
        if not self._is_rest():
            body = OPENAI.encoded(RefusedError(status, message).failure)
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (status, _PHRASES[status], len(body), body)
            )
        self.transport.close()

"""Responses: JSON at once, and streams of events that ping, fail in their API's shape and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from qrt.server.errors import ENDING, ErrorShape, Failure, failure_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from qrt.server.routing import Request

_JSON = "application/json"
_FIRST_S = 2.0
"""How long the status waits for what a stream says first, which may be that it failed."""

encode = msgspec.json.encode


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`value` as JSON."""
    return Response(encode(value), status, headers, _JSON)


def failed(failure: Failure, shape: ErrorShape) -> Response:
    """The response to a request that failed before it was answered."""
    return Response(shape.encoded(failure), failure.status, failure.headers, _JSON)


def sse(value: object, event: str | None = None) -> bytes:
    """A value as a server-sent event, with a name where the API gives events one."""
    head = b"data: " if event is None else b"event: " + event.encode() + b"\ndata: "
    return head + encode(value) + b"\n\n"


class Streamed(Response):
    """A response of bytes that come one by one; each goes out at once.

    The status waits a moment for the first bytes, so that what goes wrong at once is an error
    like any other; what goes wrong later is the stream's last event.
    """

    ping: bytes = b""

    def __init__(self, request: Request[Any], chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._shape = request.shape
        self._body = request.body
        self._ping_s = request.config.ping_s
        self._state = request.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends all of it; the stream is closed then, whatever happens."""
        try:
            await self._send(scope, receive, send)
        finally:
            await self._chunks.aclose()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = asyncio.ensure_future(anext(self._chunks, b""))
        try:
            try:
                await asyncio.wait([first], timeout=_FIRST_S)
            except asyncio.CancelledError:
                if not self._state.is_over:
                    raise
                await failed(ENDING.failure, self._shape)(scope, receive, send)
                return
            if first.done() and (error := first.exception()) is not None:
                await failed(failure_of(error, self._body), self._shape)(scope, receive, send)
                return
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            pings = _Pings(send, self.ping, self._ping_s)
            try:
                await self._pass_on(first, send, pings)
            except asyncio.CancelledError:
                if not self._state.is_over:
                    raise
                await send(_part(self._shape.event(ENDING.failure)))
            except Exception as error:
                await send(_part(self._shape.event(failure_of(error))))
            finally:
                pings.stop()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if not first.done():
                first.cancel()
                await asyncio.wait([first])

    async def _pass_on(self, first: asyncio.Future[bytes], send: Send, pings: _Pings) -> None:
        await send(_part(await first))
        async for chunk in self._chunks:
            if chunk:
                pings.is_quiet = False
                await send(_part(chunk))


def _part(chunk: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": True}


class EventStream(Streamed):
    """Server-sent events."""

    media_type = "text/event-stream"
    ping = b": ping\n\n"


class Lines(Streamed):
    """JSON values, a line each. Nothing in it can say that it is alive."""

    media_type = "application/x-ndjson"


class _Pings:
    """Sends a ping whenever nothing else was sent for a while."""

    def __init__(self, send: Send, ping: bytes, seconds: float) -> None:
        self.is_quiet = True
        self._send = send
        self._ping = ping
        self._seconds = seconds
        self._task: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if ping and seconds:
            self._arm()

    def stop(self) -> None:
        """Sends no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._tick)

    def _tick(self) -> None:
        if self.is_quiet and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._send(_part(self._ping)))
        self.is_quiet = True
        self._arm()

"""The ASGI application: checks a request, finds its route, runs it until its client has gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import Response

from qrt.server.config import ServerConfig
from qrt.server.errors import ENDING, LOG, OPENAI, ErrorShape, RefusedError, failure_of
from qrt.server.guard import SAFE, Guard, decoded
from qrt.server.metrics import Metrics
from qrt.server.models import Models
from qrt.server.routing import Request, Route, State, Table
from qrt.server.slots import Slots
from qrt.server.stream import failed

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

MODULES = (
    "health",
    "openai_models",
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "openai_embeddings",
    "native_embeddings",
    "ollama_embeddings",
    "rerank",
    "anthropic",
    "ollama",
    "ollama_models",
    "native",
    "native_tools",
    "native_slots",
    "page",
    "models",
)
"""Those of `qrt.server.routes` whose tables are served."""

_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "authorization, *",  # clients in pages send some of their own
    "access-control-max-age": "600",
}
_GONE = 499


def build(config: ServerConfig, models: Models, routes: Iterable[Route] | None = None) -> App:
    """The application of `routes`, by default those of all tables. Raises InputError and
    BackendError for a directory of slots that cannot be ours alone."""
    if routes is None:
        tables = (import_module(f"qrt.server.routes.{name}").ROUTES for name in MODULES)
        routes = [route for table in tables for route in table]
    slots = None if config.slot_save_path is None else Slots(Path(config.slot_save_path))
    return App(State(config, models, Metrics(), Table(routes), slots))


class App:
    """An ASGI application. `drain` ends it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._guard = Guard(state.config)
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "http":
            await _Exchange(self.state, self._guard, scope, receive, send).run(self._running)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def drain(self) -> None:
        """Takes no further requests; what runs may go on for a while, then it is told the end."""
        self.state.is_draining = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=self.state.config.drain_s)
        self.state.is_over = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=1.0)


class _Exchange:
    """One request and its response."""

    def __init__(
        self, state: State, guard: Guard, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._state = state
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = Headers(scope=scope)
        self._started = time.perf_counter()
        self._shape: ErrorShape = OPENAI
        self._origin: str | None = None
        self._body: Any = None
        self._watch: asyncio.Task[None] | None = None
        self._is_gone = False
        self._path = "-"
        self._status = _GONE

    async def run(self, running: set[asyncio.Task[Any]]) -> None:
        """Answers, unless the client goes before that is done."""
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            async with AsyncExitStack() as held:
                await self._answer(held, task)
        except asyncio.CancelledError:
            if not (self._is_gone or self._state.is_over):
                raise
            task.uncancel()
        finally:
            self._stop_watching()
            running.discard(task)
            self._note()

    async def _answer(self, held: AsyncExitStack, task: asyncio.Task[Any]) -> None:
        try:
            response = await self._response(held, task)
        except asyncio.CancelledError:
            if not self._state.is_over:
                raise
            response = failed(ENDING.failure, self._shape)
        except Exception as error:
            response = failed(failure_of(error, self._body), self._shape)
        await response(self._scope, self._receive, self._passed)

    async def _response(self, held: AsyncExitStack, task: asyncio.Task[Any]) -> Response:
        scope, headers = self._scope, self._headers
        self._guard.check_size(scope)
        self._guard.check_host(headers)
        self._origin = self._guard.check_origin(scope, headers)
        if self._origin is not None and "access-control-request-method" in headers:
            return Response(None, 204, _PREFLIGHT)
        route, params, key_salt = self._admitted()
        if self._state.is_draining and scope["method"] not in SAFE:
            raise ENDING
        if not route.has_file:
            self._guard.check_media(scope, headers)
            if route.body is not None:
                body = await self._guard.read_body(self._receive, headers)
                self._body = decoded(body, route.body)
            self._watch = asyncio.create_task(self._until_gone(task))
        request = Request(
            self._body,
            scope,
            headers,
            params,
            self._state,
            route.shape,
            key_salt,
            self._started,
            held,
            self._receive,
        )
        return await route.handler(request)

    def _admitted(self) -> tuple[Route, Any, str]:
        """The route, the parts of its path, and the salt of the key. Raises RefusedError: without a
        key nobody learns which paths there are."""
        missing = None
        try:
            route, params = self._state.table.find(self._scope["path"], self._scope["method"])
        except RefusedError as error:
            missing = error
        else:
            self._shape, self._path = route.shape, route.path
            if route.open:
                return route, params, ""
        key_salt = self._guard.check_key(self._headers)
        if missing is not None:
            raise missing
        return route, params, key_salt

    async def _until_gone(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        task.cancel()

    def _passed(self, message: Message) -> Awaitable[None]:
        """Sends a message, on which everything but the first and the last passes untouched."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._origin is not None:
                allowed = (b"access-control-allow-origin", self._origin.encode("latin-1"))
                message["headers"] = [*message["headers"], allowed, (b"vary", b"origin")]
        elif not message.get("more_body"):
            self._stop_watching()
        return self._send(message)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _note(self) -> None:
        status = _GONE if self._is_gone else self._status
        self._state.metrics.requests[self._path, str(status)] += 1
        if self._state.config.log_requests:
            took_ms = (time.perf_counter() - self._started) * 1000
            LOG.info("%s %s %d %.0f ms", self._scope["method"], self._path, status, took_ms)

"""Tables of routes: which handler answers a path, with which body, in whose error shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.routing import compile_path

from qrt.server.config import ServerConfig
from qrt.server.errors import OPENAI, ErrorShape, RefusedError
from qrt.server.metrics import Metrics
from qrt.server.models import Models, Served
from qrt.server.parts import received
from qrt.server.slots import Slots

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

Body = TypeVar("Body")


@dataclass(slots=True)
class State:
    """What all requests of a server share."""

    config: ServerConfig
    models: Models
    metrics: Metrics
    table: Table
    slots: Slots | None = None
    """None: slots belong to nobody."""
    is_draining: bool = False
    """It ends soon, and takes no further requests."""
    is_over: bool = False
    """What still runs is being cut short."""


@dataclass(slots=True)
class Request(Generic[Body]):
    """A request that passed all checks.

    body: as the route's struct says; None where it has none. params: the parts of the path that
    the route names. key_salt: what keeps the stored prefixes of one API key from those of others.
    shape: that of its errors. started: when it came in, by `time.perf_counter`. held: closed when
    its response is complete. receive: what the client sends, where the handler reads it.
    """

    body: Body
    scope: Scope
    headers: Headers
    params: Mapping[str, str]
    state: State
    shape: ErrorShape
    key_salt: str
    started: float
    held: AsyncExitStack
    receive: Receive

    @property
    def config(self) -> ServerConfig:
        """The server's settings."""
        return self.state.config

    @property
    def models(self) -> Models:
        """The server's models."""
        return self.state.models

    @property
    def query(self) -> QueryParams:
        """What follows the path."""
        return QueryParams(self.scope["query_string"])

    async def acquire(self, name: str | None, keep_alive: float | None = None) -> Served:
        """The model of that name, or the default, until the response is complete; `keep_alive` as
        `Models.acquire` has it.

        Raises RefusedError.
        """
        return await self.held.enter_async_context(await self.models.acquire(name, keep_alive))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes in, of a route that takes a file. Raises RefusedError for one that
        ends early, or stalls."""
        loop, is_whole = asyncio.get_running_loop(), False
        while not is_whole:
            part, is_whole = await received(self.receive, loop.time() + self.config.stall_s)
            yield part


Handler = Callable[[Request[Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path and what answers it.

    methods: as ("POST",); GET answers HEAD too. path: a part of it may be {name}, or {name:path}
    for all that follows. body: the struct that a JSON body must fit; None: no body is read. open:
    it needs no API key. summary: one line for the OpenAPI document. has_file: the body is a file,
    of any size, which the handler reads by `Request.pieces`.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    body: Any = None
    shape: ErrorShape = OPENAI
    open: bool = False
    summary: str = ""
    has_file: bool = False

    def at(self, *paths: str) -> tuple[Route, ...]:
        """This route, and the same under other paths."""
        return (self, *(replace(self, path=path) for path in paths))


class Table:
    """All routes; a path that is in none of them does not exist."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[Any, Any, Route]] = []
        for route in self.routes:
            if "{" in route.path:
                pattern, _, convertors = compile_path(route.path)
                self._patterns.append((pattern, convertors, route))
            else:
                for method in route.methods:
                    of_path = self._exact.setdefault(route.path, {})
                    assert method not in of_path, f"{method} {route.path} stands twice"
                    of_path[method] = route

    def find(self, path: str, method: str) -> tuple[Route, Mapping[str, str]]:
        """The route of a path as it was decoded, and the parts that it names.

        Raises RefusedError: 404, and 405 for a method that the path does not take.
        """
        asked = "GET" if method == "HEAD" else method
        methods = self._exact.get(path, {})
        if asked in methods:
            return methods[asked], {}
        known = set(methods)
        for pattern, convertors, route in self._patterns:
            found = pattern.match(path)
            if found and asked in route.methods:
                return route, {
                    name: str(convertors[name].convert(value))
                    for name, value in found.groupdict().items()
                }
            if found:
                known.update(route.methods)
        if known:
            allowed = ", ".join(sorted(known))
            raise RefusedError(
                405, f"{method} is not answered here; use {allowed}", headers={"allow": allowed}
            )
        raise RefusedError(404, "there is no such path; GET /openapi.json lists all")

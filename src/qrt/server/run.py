"""Runs a server until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from qrt.errors import BackendError
from qrt.server.app import App
from qrt.server.config import ServerConfig
from qrt.server.protocol import protocol_class

_BACKLOG = 2048
_AT_ONCE = 32
"""Connections accepted before those that have to make room for them are closed."""
_N_THREADS = 32
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listening(config: ServerConfig) -> socket.socket:
    """The socket that clients connect to. Raises BackendError if it cannot be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # With its protocol named, asyncio sends what is written at once (TCP_NODELAY).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host.strip("[]"), config.port))
        listener.listen(_BACKLOG)  # who connects before the server runs waits
    except OSError as error:
        listener.close()
        raise BackendError(
            f"{config.host}:{config.port}: cannot listen there: {error.strerror}; "
            "--port N takes another port"
        ) from None
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, which ends as `App.drain` says."""

    def __init__(self, app: App, config: ServerConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_class(config),
                log_config=None,
                log_level="error",  # what is no HTTP is answered, and no news
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                backlog=_AT_ONCE,
                timeout_keep_alive=int(config.idle_s),
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=2 * config.max_header_bytes,
            )
        )
        self._app = app
        self._draining: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Runs until it is told to end. What would hold up the loop has threads enough, so that
        long grammars and prompts of some are not waited for by all."""
        pool = ThreadPoolExecutor(_N_THREADS, "qrt-http")
        asyncio.get_running_loop().set_default_executor(pool)
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to serve. asyncio takes one number for what it accepts at once and for what may
        wait for that, so the second is set again."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)

    def end(self) -> None:
        """Drains, then ends; called in the server's event loop."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        await self._app.drain()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal drains, the second ends the process."""
        loop = asyncio.get_running_loop()
        n_signals = 0

        def on_signal(number: int, _: FrameType | None) -> None:
            nonlocal n_signals
            n_signals += 1
            if n_signals > 1:
                os._exit(128 + number)
            loop.call_soon_threadsafe(self.end)

        try:
            before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        except ValueError:  # signals are the main thread's
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    app: App, config: ServerConfig, listener: socket.socket, started: Callable[[Server], Any]
) -> None:
    """Serves on `listener` until a signal comes; `started` is told in the loop that it begins."""
    server = Server(app, config)

    async def serve() -> None:
        started(server)
        await server.serve(sockets=[listener])

    asyncio.run(serve())

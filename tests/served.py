"""A server on a free port of this machine, in a thread, for tests that ask over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import qrt
from qrt.server.app import App, build
from qrt.server.config import ServerConfig
from qrt.server.models import Models, OneModel
from qrt.server.run import Server, listening


@dataclass
class Served:
    """A running server."""

    base_url: str
    app: App
    server: Server
    model: qrt.Model | None
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread


@contextmanager
def served(
    model: qrt.Model | None = None, models: Models | None = None, **config: Any
) -> Iterator[Served]:
    """Serves `model`, by default the embedded one, or `models`; ends when the block does."""
    own = None
    if models is None:
        own = None if model is not None else qrt.load()
        model = model or own
        models = OneModel("pydoc", model)
    settings = ServerConfig(**{"port": 0, **config})
    listener = listening(settings)
    host, port = listener.getsockname()[:2]
    app = build(settings, models)
    server = Server(app, settings)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Served(f"http://{host}:{port}", app, server, model, loop, thread)
    finally:
        loop.call_soon_threadsafe(lambda: setattr(server, "should_exit", True))
        thread.join(10)
        loop.close()
        if own is not None:
            own.close()

"""A server on a free port of this machine, in a thread, for tests that ask over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import qrt
from qrt.server.app import App, build
from qrt.server.config import ServerConfig
from qrt.server.models import Models, OneModel
from qrt.server.routing import Route
from qrt.server.run import Server, listening

NAME = "pydoc"
"""What the embedded model is called."""


@dataclass
class Reply:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, which must be JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of its server-sent events, but for [DONE]."""
        lines = self.body.decode().split("\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(one) for one in data if one != "[DONE]"]


@dataclass
class Served:
    """A running server."""

    host: str
    port: int
    app: App
    server: Server
    model: qrt.Model | None
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    @property
    def base_url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Sends a request: POST of `body` as JSON, or as it is if it is bytes, else GET."""
        given = {"Content-Type": "application/json"} if body is not None else {}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, path, data, {**given, **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def leave(
        self, path: str, body: Any, after_s: float, has_begun: Callable[[], bool] = lambda: True
    ) -> None:
        """Sends a request and goes, so long after it `has_begun`, without waiting for the reply."""
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((self.host, self.port), 60) as connection:
            connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
            until = time.monotonic() + 20
            while not has_begun() and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(after_s)

    def send(self, data: bytes, timeout: float = 30.0) -> bytes:
        """Sends bytes as they are; all that comes back until the connection closes or rests."""
        with socket.create_connection((self.host, self.port), timeout) as connection:
            connection.sendall(data)
            came = b""
            try:
                while part := connection.recv(65536):
                    came += part
                    if _is_whole(came):
                        break
            except ConnectionResetError:
                pass
            return came


def _is_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(found) and len(body) >= int(line.split(b":")[1])
    return data.endswith(b"0\r\n\r\n")


@contextmanager
def served(
    model: qrt.Model | None = None,
    *,
    models: Models | None = None,
    routes: Iterable[Route] | None = None,
    **config: Any,
) -> Iterator[Served]:
    """Serves `model`, by default the embedded one, or `models`, by all routes or by `routes`."""
    own = None
    if models is None:
        own = qrt.load() if model is None else None
        model = model or own
        models = OneModel(NAME, model)
    settings = ServerConfig(**{"port": 0, **config})
    listener = listening(settings)
    host, port = listener.getsockname()[:2]
    app = build(settings, models, routes)
    server = Server(app, settings)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Served(host, port, app, server, model, loop, thread)
    finally:
        server.should_exit = True
        thread.join(10)
        loop.close()
        if own is not None:
            own.close()

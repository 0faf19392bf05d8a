"""Speaks HTTP to a server as many clients at once do, good ones and bad ones, and times it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LIMIT = 1 << 22
_DONE = b"[DONE]"


@dataclass(frozen=True)
class Target:
    """A server: where it listens, its process, and a model that it has."""

    url: str
    pid: int
    model: str

    @property
    def address(self) -> tuple[str, int]:
        """(host, port)."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return parts.hostname, parts.port or 80

    def resident_bytes(self) -> int:
        """Memory of the process."""
        line = next(
            line
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS:")
        )
        return 1024 * int(line.split()[1])

    def n_files(self) -> int:
        """Descriptors that the process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def n_threads(self) -> int:
        """Threads of the process."""
        return len(os.listdir(f"/proc/{self.pid}/task"))


@dataclass
class Reply:
    """What came back. `events` are (when, data) of a stream, times by `time.perf_counter`.

    status: 0 where the connection broke before there was one. is_whole: it came to its end.
    """

    began: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[tuple[float, Any]] = field(default_factory=list)
    is_whole: bool = False
    problem: str = ""
    ended: float = 0.0

    @property
    def json(self) -> Any:
        """The body of a reply that is no stream."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What all events of a completion say together."""
        choices = [c for _, event in self.events for c in event.get("choices", ())]
        return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)

    @property
    def errors(self) -> list[Any]:
        """Events that tell of an error."""
        return [event["error"] for _, event in self.events if "error" in event]

    @property
    def token_times(self) -> list[float]:
        """When events with text came."""
        return [
            at
            for at, event in self.events
            for c in event.get("choices", ())
            if c.get("text") or c.get("delta", {}).get("content")
        ]


def request_bytes(
    target: Target, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> bytes:
    """A request whose connection ends with it."""
    host, port = target.address
    given = {"Host": f"{host}:{port}", "Connection": "close", **(headers or {})}
    if method != "GET":
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def connection(
    target: Target, receive_bytes: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection; receive_bytes: room that the system has for what is not read."""
    sock = socket.socket(socket.AF_INET)
    sock.setblocking(False)
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(sock, target.address)
    except BaseException:
        sock.close()
        raise
    limit = receive_bytes or _LIMIT
    reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """Breaks a connection off, so that the other end is told of an error, not of an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def ask(
    target: Target,
    path: str,
    body: Any = None,
    *,
    method: str | None = None,
    n_events: int | None = None,
    then_reset: bool = False,
) -> Reply:
    """Asks, and reads the reply to its end, or up to `n_events` events of a stream and then leaves.

    A `body` of bytes is sent as it is, anything else as JSON. What the network does stands in the
    reply.
    """
    method = method or ("GET" if body is None else "POST")
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    reply = Reply(time.perf_counter())
    try:
        async with connection(target) as (reader, writer):
            writer.write(request_bytes(target, method, path, data))
            await _read(reader, reply, n_events)
            if then_reset:
                reset(writer)
    except (OSError, EOFError, ValueError) as error:
        reply.problem = f"{type(error).__name__}: {error}"
    reply.ended = time.perf_counter()
    return reply


async def _read(reader: asyncio.StreamReader, reply: Reply, n_events: int | None) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    reply.status = int(head[0].split()[1])
    pairs = (line.partition(":") for line in head[1:] if line)
    reply.headers = {name.lower(): value.strip() for name, _, value in pairs}
    if reply.headers.get("transfer-encoding") != "chunked":
        reply.body = await reader.readexactly(int(reply.headers.get("content-length", "0")))
        reply.is_whole = True
        return
    rest = b""
    async for piece in _chunks(reader):
        now = time.perf_counter()
        *events, rest = (rest + piece).split(b"\n\n")
        reply.body += piece
        for event in events:
            for line in event.splitlines():
                data = line.removeprefix(b"data:").strip()
                if line.startswith(b"data:") and data != _DONE:
                    reply.events.append((now, json.loads(data)))
        if n_events is not None and len(reply.events) >= n_events:
            return
    reply.is_whole = True


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while n_bytes := int(await reader.readline(), 16):
        yield (await reader.readexactly(n_bytes + 2))[:-2]
    await reader.readline()


def percentile(values: list[float], share: float) -> float:
    """The value that a share of all is not above; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

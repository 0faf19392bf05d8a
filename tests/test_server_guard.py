"""Who may ask a server, from where, how much and how slowly; over real connections."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncGenerator, Iterator

import pytest
from served import Served, served
from starlette.responses import Response

from qrt.errors import InputError
from qrt.server.app import MODULES
from qrt.server.config import ServerConfig
from qrt.server.models import OneModel
from qrt.server.protocol import BoundedProtocol
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream

KEY = "key-ä-1"
CHAT = {"messages": [{"role": "user", "content": "What does len do?"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(
        models=OneModel("none"),
        max_body=2_000_000,
        head_s=0.5,
        body_s=0.5,
        cors_origins=("https://page.example",),
        allowed_hosts=("my.example",),
    ) as one:
        yield one


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    with served(models=OneModel("none"), api_keys=("another", KEY)) as one:
        yield one


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("LocalHost", 200),
        ("localhost.", 200),
        ("[::1]:1", 200),
        ("my.example", 200),
        ("", 403),
        ("localhost..", 403),
        ("evil.localhost.com", 403),
        ("127.0.0.1.nip.io", 403),
        ("192.168.1.5", 403),
        ("localhost?", 403),
        ("localhost@evil.example", 403),
        ("localhost\r\nHost: evil.example", 403),
    ],
)
def test_only_a_host_that_is_its_own_is_answered(server: Served, host: str, status: int) -> None:
    name = host.format(port=server.port)
    came = server.send(f"GET /health/live HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    assert came.split()[1] == str(status).encode()


def test_a_server_for_other_machines_is_called_by_address_or_its_names() -> None:
    with served(models=OneModel("none"), host="0.0.0.0", api_keys=("k",)) as one:
        for host, status in (
            ("192.168.1.5:8080", 200),
            ("[fd00::1]", 200),
            (socket.gethostname(), 200),
            ("localhost", 200),
            ("evil.example", 403),
            ("192.168.1.5.nip.io", 403),
        ):
            assert one.ask("/health/live", headers={"Host": host}).status == status, host


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 503),
        ("http://{own}", 503),
        ("https://page.example", 503),
        ("https://evil.example", 403),
        ("http://localhost", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_servers_change_nothing(
    server: Served, origin: str | None, status: int
) -> None:
    own = f"{server.host}:{server.port}"
    headers = {} if origin is None else {"Origin": origin.format(own=own)}
    reply = server.ask("/v1/chat/completions", CHAT, headers=headers)
    assert reply.status == status  # 503: it would be answered if there were a model
    allowed = reply.headers.get("access-control-allow-origin")
    assert allowed == (origin if origin == "https://page.example" else None)


def test_a_page_that_may_is_told_so_beforehand(server: Served) -> None:
    asks = {"Access-Control-Request-Method": "POST"}
    for origin, status in (("https://page.example", 204), ("https://evil.example", 405)):
        headers = {**asks, "Origin": origin}
        reply = server.ask("/v1/chat/completions", method="OPTIONS", headers=headers)
        assert reply.status == status
        assert ("access-control-allow-origin" in reply.headers) == (status == 204)
        told = "authorization, *" if status == 204 else None
        assert reply.headers.get("access-control-allow-headers") == told


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-site"},
        {"Content-Type": "multipart/form-data; boundary=application/json"},
        {"Content-Type": "", "Sec-Fetch-Site": "none"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_is_json_as_it_is(server: Served, headers: dict[str, str]) -> None:
    assert server.ask("/v1/chat/completions", CHAT, headers=headers).status == 415


@pytest.mark.parametrize("media", ["", "application/x-www-form-urlencoded"])
def test_a_program_need_not_say_that_it_sends_json(server: Served, media: str) -> None:
    assert server.ask("/api/chat", {"model": "m"}, headers={"Content-Type": media}).status == 503


def test_every_route_but_the_open_ones_needs_a_key(locked: Served) -> None:
    wrong = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer another-"},
        {"Authorization": "Bearer anothe"},
        {"Authorization": "Basic another"},
        {"Authorization": "Bearer \xff\xfe"},
        {"x-api-key": "Another"},
    ]
    routes = locked.app.state.table.routes
    assert len(routes) > len(MODULES)
    for route in routes:
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        for method in route.methods:
            body = b"{}" if method == "POST" else None
            for headers in wrong[: 1 if route.path != "/v1/models" else None]:
                status = locked.ask(path, body, method=method, headers=headers).status
                assert (status == 401) != route.open, (route.path, headers)
    brought = KEY.encode().decode("latin-1")
    for headers in ({"Authorization": f"Bearer {brought}"}, {"x-api-key": "another"}):
        assert locked.ask("/v1/models", headers=headers).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "//v1/models",
        "/health/../v1/models",
        "/health/..%2fv1/models",
        "/v1/%6dodels",
        "/V1/MODELS",
        "/health;/v1/models",
        "/v1/models?/health",
        "http://localhost/v1/models",
    ],
)
def test_no_path_leads_round_the_key(locked: Served, path: str) -> None:
    came = locked.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert came.split()[1] == b"401"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("".join(f"A{i}: 1\r\n" for i in range(100)) + "\r\n", 431),
        (f"A: {'1' * 17_000}\r\n\r\n", 431),
        (f"A: {'1' * 70_000}\r\n\r\n", 431),
        ("Content-Length: 2000001\r\n\r\n", 413),
        (f"Content-Length: {10**30}\r\n\r\n", 400),
        ("Content-Length: -1\r\n\r\n", 400),
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        ("Transfer-Encoding: chunked\r\n\r\n" + f"40000\r\n{' ' * 0x40000}\r\n" * 8, 413),
        ("Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        ('Content-Length: 20\r\n\r\n{"messages":', 408),
        ("Content-Length: 2\r\n", 408),
        ("", 408),
    ],
)
def test_what_is_too_large_slow_or_no_http(server: Served, request_: str, status: int) -> None:
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\n"
    came = server.send((head + request_).encode())
    assert came.split()[1] == str(status).encode(), came
    assert server.ask("/health/live").status == 200


_DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"messages": "\xff"}',
        b'{"messages": NaN}',
        b'{"messages": [], "temperature": 1e400}',
        b'{"messages": [], "seed": ' + b"9" * 5000 + b"}",
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [], "stream": 1}',
        b'{"messages": [], "model": "a", "model": "b"}',
        b'{"messages": [{"role": "user", "content": "\x00"}]}',
        b'{"messages": ' + b"[" * (_DEEP // 2),
        b'{"messages": [' + b"{}," * 500_000 + b"{}]}",
        b'{"messages": [{"a": ' + b"[" * 40_000 + b"]" * 40_000 + b"}]}",
    ],
)
def test_a_body_that_is_not_as_it_must_be(server: Served, body: bytes) -> None:
    reply = server.ask("/v1/chat/completions", body)
    assert reply.status == 400, reply.body
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_an_error_names_the_field(server: Served) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 21}
    error = server.ask("/v1/chat/completions", body).json["error"]
    assert error["param"] == "top_logprobs"
    assert "<= 20" in error["message"]


def test_a_server_for_other_machines_has_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "my.example"):
        with pytest.raises(InputError, match="--api-key"):
            ServerConfig(host=host)
    assert ServerConfig(host="0.0.0.0", api_keys=("k",)).port == 8080
    assert ServerConfig(host="::1").is_local


def test_a_mistake_of_the_server_is_in_its_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Request[None]) -> Response:
        raise KeyError("/a/path")

    route = Route(("GET",), "/fail", fail)
    with served(models=OneModel("none"), routes=[route]) as one, caplog.at_level(logging.ERROR):
        reply = one.ask("/fail")
    assert reply.status == 500
    assert b"path" not in reply.body
    number = reply.json["error"]["message"].rsplit(" ", 1)[1]
    assert number in caplog.text
    assert "KeyError" in caplog.text


def test_a_reader_that_stalls_is_cut_off() -> None:
    ended = []

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            ended.append(time.monotonic())

    async def stream(request: Request[None]) -> Response:
        return EventStream(request, endless())

    route = Route(("GET",), "/", stream)
    with (
        served(models=OneModel("none"), routes=[route], stall_s=0.4) as one,
        socket.create_connection((one.host, one.port)) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        started = time.monotonic()
        while not ended and time.monotonic() < started + 10:
            time.sleep(0.02)
    assert ended
    assert 0.3 < ended[0] - started < 5


def test_a_connection_that_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qrt.server.protocol.most_connections", lambda: 20)
    with served(models=OneModel("none")) as one:
        idle = [socket.create_connection((one.host, one.port)) for _ in range(60)]
        time.sleep(0.1)
        assert one.ask("/health/live").status == 200
        assert idle[0].recv(1) == b""
        for connection in idle:
            connection.close()


def test_a_burst_is_let_in_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    n_open = []

    class Noted(BoundedProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            n_open.append(len(self.connections))
            super().connection_lost(exc)

    monkeypatch.setattr("qrt.server.protocol.most_connections", lambda: 20)
    monkeypatch.setattr("qrt.server.protocol.BoundedProtocol", Noted)
    with served(models=OneModel("none")) as one:
        one.loop.call_soon_threadsafe(time.sleep, 0.5)
        burst = [socket.create_connection((one.host, one.port)) for _ in range(600)]
        assert one.ask("/health/live").status == 200
        for connection in burst:
            connection.close()
    assert len(n_open) >= 580
    assert max(n_open) < 200


def test_idle_connections_stop_nobody() -> None:
    with served(models=OneModel("none")) as one:
        idle = [socket.create_connection((one.host, one.port)) for _ in range(400)]
        started = time.monotonic()
        assert json.loads(one.ask("/health/live").body) == {"status": "ok"}
        assert time.monotonic() - started < 1
        for connection in idle:
            connection.close()

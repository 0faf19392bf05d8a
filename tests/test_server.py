"""A server's life: ready or not, streams that ping and end, clients that go, signals."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from served import NAME, Reply, Served, served
from starlette.responses import Response

import qrt
from qrt.config import embedded_model
from qrt.server.errors import RefusedError
from qrt.server.models import OneModel
from qrt.server.routing import Request, Route
from qrt.server.stream import EventStream

LONG = {"prompt": "def", "max_tokens": 300, "ignore_eos": True, "stream": True}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as one:
        yield one


def _until(done: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.01)
    return False


def test_requests_are_put_off_until_the_model_is_there(server: Served) -> None:
    models = OneModel(NAME)
    with served(models=models) as one:
        for path in ("/health", "/health/ready", "/v1/health"):
            reply = one.ask(path)
            assert reply.status == 503
            assert reply.json["error"]["message"] == "Loading model"
        assert one.ask("/health/live").status == 200
        reply = one.ask("/v1/completions", {"prompt": "x"})
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert server.model is not None
        models.put(server.model)
        assert one.ask("/health").json == {"status": "ok"}
        assert one.ask("/v1/completions", {"prompt": "x", "max_tokens": 1}).status == 200


def test_what_is_sent_leaves_at_once(server: Served) -> None:
    """No packet waits for the receipt of the one before, which takes its reader 40 ms."""
    connection = http.client.HTTPConnection(server.host, server.port)
    started = time.monotonic()
    for _ in range(20):
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b'{"status":"ok"}'
    assert time.monotonic() - started < 0.5
    connection.close()


def test_head_and_wrong_methods(server: Served) -> None:
    assert server.ask("/health", method="HEAD").status == 200
    reply = server.ask("/v1/completions")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert server.ask("/nothing").status == 404


def test_the_document_names_every_route(server: Served) -> None:
    document = server.ask("/openapi.json").json
    chat = document["paths"]["/v1/chat/completions"]["post"]
    schema = chat["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    assert "messages" in body["required"]
    assert "mirostat_tau" in body["properties"]
    for route in server.app.state.table.routes:
        assert any(path.split("{")[0] == route.path.split("{")[0] for path in document["paths"])


def test_what_is_counted(server: Served) -> None:
    before = server.ask("/metrics").body.decode()
    server.ask("/v1/completions", {"prompt": "def f", "max_tokens": 5, "ignore_eos": True})
    after = server.ask("/metrics").body.decode()

    def value(text: str, name: str) -> float:
        return float(text.split(f"\n{name} ")[1].split("\n")[0])

    for name, more in (
        ("llamacpp:tokens_predicted_total", 5),
        ("qrt:time_to_first_token_seconds_count", 1),
        ("qrt:time_between_tokens_seconds_count", 4),
    ):
        assert value(after, name) - value(before, name) == more
    assert value(after, "llamacpp:predicted_tokens_seconds") > 0
    assert value(after, "llamacpp:requests_processing") == 0


def test_a_stream_fails_in_its_status_or_in_its_last_event() -> None:
    async def fails(n_before: int) -> AsyncGenerator[bytes, None]:
        for _ in range(n_before):
            yield b"data: 1\n\n"
        raise RefusedError(409, "no more")

    async def stream(request: Request[None]) -> Response:
        return EventStream(request, fails(int(request.params["n"])))

    with served(models=OneModel(NAME), routes=[Route(("GET",), "/{n}", stream)]) as one:
        at_once, later = one.ask("/0"), one.ask("/2")
    assert (at_once.status, at_once.json["error"]["message"]) == (409, "no more")
    assert later.status == 200
    assert later.events[:2] == [1, 1]
    assert later.events[2]["error"]["message"] == "no more"


def test_a_quiet_stream_pings() -> None:
    async def quiet() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.sleep(0.5)
        yield b"data: 2\n\n"

    async def stream(request: Request[None]) -> Response:
        return EventStream(request, quiet())

    route = Route(("GET",), "/", stream)
    with served(models=OneModel(NAME), routes=[route], ping_s=0.1) as one:
        reply = one.ask("/")
    assert reply.events == [1, 2]
    assert 1 <= reply.body.count(b": ping\n\n") <= 5


def test_a_request_that_has_not_begun_is_told_the_end() -> None:
    async def silent() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(30)
        yield b""

    async def stream(request: Request[None]) -> Response:
        return EventStream(request, silent())

    async def whole(_: Request[None]) -> Response:
        await asyncio.sleep(30)
        return Response()

    routes = [Route(("GET",), "/stream", stream), Route(("GET",), "/whole", whole)]
    replies: list[Reply] = []
    with served(models=OneModel(NAME), routes=routes, drain_s=0) as one:
        asking = [
            threading.Thread(target=lambda path=path: replies.append(one.ask(path)))
            for path in ("/stream", "/whole")
        ]
        for thread in asking:
            thread.start()
        assert _until(lambda: len(one.app._running) == 2)
        asyncio.run_coroutine_threadsafe(one.app.drain(), one.loop).result(5)
        for thread in asking:
            thread.join(5)
    assert [reply.status for reply in replies] == [503, 503]


def _raw(path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.2])
def test_a_client_that_goes_ends_its_generation(
    server: Served, is_stream: bool, after_s: float
) -> None:
    metrics = server.app.state.metrics
    n_requests, n_tokens = metrics.requests.total(), metrics.answer_tokens
    body = {**LONG, "stream": is_stream, "n": 8, "max_tokens": 500}  # longer than after_s
    server.leave("/v1/completions", body, after_s)
    assert _until(lambda: metrics.requests.total() == n_requests + 1, 1.0)
    assert metrics.n_running == 0
    assert metrics.answer_tokens == n_tokens  # none was computed to its end
    assert server.model is not None
    server.model._core.engine.check_integrity()


def test_streams_at_the_same_time_are_as_alone(server: Served) -> None:
    bodies = [
        {"prompt": f"def f{i}(", "max_tokens": 24, "stream": True, "seed": i, "temperature": 1.0}
        for i in range(6)
    ]

    def text(i: int) -> str:
        events = server.ask("/v1/completions", bodies[i]).events
        return "".join(event["choices"][0]["text"] for event in events)

    alone = [text(i) for i in range(len(bodies))]
    together: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: text(i)}))
        for i in range(len(bodies))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(len(bodies))] == alone


def test_who_finds_the_queue_full_is_told_when_to_ask_again() -> None:
    replies: list[Reply] = []
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "ignore_eos": True}
    with qrt.load(max_running=1, max_waiting=2) as model, served(model) as one:
        asking = [
            threading.Thread(target=lambda: replies.append(one.ask("/v1/chat/completions", body)))
            for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    refused = [reply for reply in replies if reply.status == 429]
    assert len(replies) == 8
    assert len(refused) + sum(reply.status == 200 for reply in replies) == 8
    assert 0 < len(refused) < 8
    for reply in refused:
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json["error"]["type"] == "rate_limit_error"


def test_a_model_file_that_changes_under_a_server_is_not_missed(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(embedded_model().read_bytes())
    with qrt.load(file) as model, served(model) as one:
        body = {"prompt": "def f(", "max_tokens": 8}
        before = one.ask("/v1/completions", body).json["choices"]
        os.truncate(file, 1000)
        assert one.ask("/v1/completions", body).json["choices"] == before
        file.unlink()
        assert one.ask("/v1/completions", body).json["choices"] == before


@pytest.mark.parametrize("is_logged", [False, True])
def test_prompts_are_in_the_log_only_if_asked_for(
    server: Served, caplog: pytest.LogCaptureFixture, is_logged: bool
) -> None:
    config = {"log_requests": True, "log_prompts": is_logged}
    with caplog.at_level(logging.DEBUG), served(server.model, **config) as one:
        said = one.ask("/v1/completions", {"prompt": "def secret(", "max_tokens": 4}).json
        one.ask("/v1/completions", {"prompt": "def secret(", "max_tokens": "secret"})
        one.ask("/v1/secret")
    assert "POST /v1/completions 200" in caplog.text
    assert ("secret" in caplog.text) == is_logged
    assert (repr(said["choices"][0]["text"]) in caplog.text) == is_logged


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`qrt serve` and its port."""
    source = str(Path(__file__).parent.parent / "src")
    process = subprocess.Popen(
        [sys.executable, "-m", "qrt", "serve", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield process, int(re.findall(r":(\d+)", line)[0])
    finally:
        process.kill()
        process.communicate()


def _stream(port: int, came: list[bytes]) -> None:
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_raw("/v1/completions", LONG))
        while part := connection.recv(65536):
            came.append(part)


def _status(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return connection.recv(1000).split()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
@pytest.mark.parametrize(("drain", "is_whole"), [("20", True), ("0", False)])
def test_a_signal_lets_answers_end_or_tells_them(drain: str, is_whole: bool) -> None:
    with _process("--drain", drain) as (process, port):
        came: list[list[bytes]] = [[] for _ in range(4)]
        threads = [threading.Thread(target=_stream, args=(port, one)) for one in came]
        for thread in threads:
            thread.start()
        assert _until(lambda: all(map(bool, came)))
        process.send_signal(signal.SIGTERM)
        if is_whole:
            assert _until(lambda: _status(port, "/health") == b"503", 1.0)
            assert _status(port, "/health/live") == b"200"
        for thread in threads:
            thread.join(20)
        assert process.wait(5) == 0
        for one in came:
            data = b"".join(one)
            assert data.endswith(b"0\r\n\r\n")
            assert (b"[DONE]" in data) == is_whole
            assert (b"the server is ending" in data) != is_whole


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_a_second_signal_ends_it_at_once() -> None:
    with _process() as (process, port):
        came: list[bytes] = []
        thread = threading.Thread(target=_stream, args=(port, came))
        thread.start()
        assert _until(lambda: bool(came))
        process.send_signal(signal.SIGTERM)
        assert _until(lambda: _status(port, "/health") == b"503", 1.0)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM
        assert time.monotonic() - started < 1
        thread.join(5)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--host", "0.0.0.0"], 2, "--api-key"),
        (["--port", "70000"], 2, "port must be"),
        (["--host", "300.1.1.1", "--api-key", "k"], 3, "cannot listen there"),
        (["no-such.gguf"], 3, "no such file"),
    ],
)
def test_what_cannot_be_served(arguments: list[str], code: int, says: str) -> None:
    from typer.testing import CliRunner

    from qrt.cli.app import app as qrt_app

    result = CliRunner().invoke(qrt_app, ["serve", *arguments])
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1

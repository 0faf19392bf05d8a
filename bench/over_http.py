"""Measure what HTTP costs: one stream over a server beside `model.stream` in the same process."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from report import Ratio, Row, median, note, write

import qrt
from qrt.config import default_threads

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PROMPT = "The quick brown fox"
_CHUNK = b"data: {"


def options(n_tokens: int) -> dict[str, object]:
    """Of a generation that computes all of its prompt, and does not end by itself."""
    return {"max_tokens": n_tokens, "seed": 1, "ignore_eos": True, "cache_prompt": False}


def in_process(model: qrt.Model, n_tokens: int) -> tuple[float, float]:
    """Seconds to the first token, and from it to the last."""
    start = time.perf_counter()
    stream = iter(model.stream(PROMPT, **options(n_tokens)))
    next(stream)
    first = time.perf_counter()
    n_rest = sum(1 for _ in stream)
    assert n_rest == n_tokens - 1
    return first - start, time.perf_counter() - first


def ask(port: int, n_tokens: int) -> tuple[float, float]:
    """The same over HTTP, timed where the bytes arrive."""
    body = json.dumps({"prompt": PROMPT, "stream": True, **options(n_tokens)}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        came, first = b"", 0.0
        while not came.endswith(b"0\r\n\r\n"):
            part = connection.recv(1 << 16)
            assert part, came[-500:]
            came = came[-5:] + part
            if not first and _CHUNK in came:
                first = time.perf_counter()
        return first - start, time.perf_counter() - first


class Client:
    """A process that asks, so that its work is not the server's."""

    def __init__(self, port: int) -> None:
        command = [sys.executable, __file__, "--ask", str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, n_tokens: int) -> tuple[float, float]:
        """What `ask` gives, there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(n_tokens, file=self._process.stdin, flush=True)
        first, rest = json.loads(self._process.stdout.readline())
        return first, rest

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def measure(path: str | None, n_threads: int, n_tokens: int, repeat: int) -> Row:
    """Turns of a stream in process and one over HTTP."""
    from served import served

    with qrt.load(path, n_threads=n_threads) as model, served(model) as server:
        client = Client(server.port)
        for _ in range(2):
            in_process(model, n_tokens)
            client.ask(n_tokens)
        turns = [(in_process(model, n_tokens), client.ask(n_tokens)) for _ in range(repeat)]
        client.close()
        name = model.info.name
    return {
        "model": Path(path).stem if path else name,
        "threads": n_threads,
        "tok/s in process": (n_tokens - 1) / median(rest for (_, rest), _ in turns),
        "over HTTP": (n_tokens - 1) / median(rest for _, (_, rest) in turns),
        "ratio": Ratio(median(own / http for (_, own), (_, http) in turns)),
        "ms to the first token": median(first for (first, _), _ in turns) * 1000,
        "more over HTTP": median(http - own for (own, _), (http, _) in turns) * 1000,
    }


def main() -> None:
    """A row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="models; without any, the embedded one")
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("-n", "--tokens", type=int, default=128)
    parser.add_argument("-r", "--repeat", type=int, default=5)
    parser.add_argument("-o", "--output", default="md", help="md or json")
    parser.add_argument("--ask", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask is not None:
        for line in sys.stdin:
            print(json.dumps(ask(args.ask, int(line))), flush=True)
        return
    rows = []
    for path in args.files or [None]:
        note(f"{path or 'the embedded model'}")
        rows.append(measure(path, args.threads, args.tokens, args.repeat))
    write(rows, args.output)


if __name__ == "__main__":
    main()

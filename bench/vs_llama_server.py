"""Measure `qrt serve` beside llama-server: the same clients, the same prompts, turn by turn."""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from http_load import Reply, Target, ask, percentile
from report import Ratio, Row, median, note, write
from tokens import token_ids

SETTLE_S = 2.0
_START_S = 120.0
_QRT_POSITIONS = 4096
"""The context of qrt's server, whose pages all streams share."""


@dataclass(frozen=True)
class Work:
    """What the clients ask for: prompts of token ids, and so many tokens of each answer."""

    prompts: Sequence[Sequence[int]]
    n_tokens: int
    n_clients: int


@dataclass(frozen=True)
class Turn:
    """What one turn of a server took: tokens a second of all clients, and every wait in seconds."""

    tok_s: float
    first: list[float]
    between: list[float]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Target]:
    """A server that has loaded its model."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target = Target(f"http://127.0.0.1:{port}", process.pid, "model")
    began = time.perf_counter()
    try:
        while asyncio.run(ask(target, "/health")).status != 200:
            if process.poll() is not None or time.perf_counter() - began > _START_S:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.2)
        yield target
    finally:
        process.terminate()
        process.wait()


def qrt_command(path: Path, n_threads: int, port: int) -> list[str]:
    """qrt's server."""
    command = [sys.executable, "-m", "qrt", "serve", str(path), "--port", str(port)]
    return [*command, "-c", str(_QRT_POSITIONS), "-t", str(n_threads)]


def peer_command(binary: str, path: Path, n_threads: int, port: int, work: Work) -> list[str]:
    """llama-server with a slot for each client."""
    longest = max(map(len, work.prompts)) + work.n_tokens + 64
    n_ctx = work.n_clients * -(-longest // 256) * 256
    command = [binary, "-m", str(path), "--port", str(port), "-c", str(n_ctx), "-cb"]
    return [*command, "-np", str(work.n_clients), "-t", str(n_threads), "-tb", str(n_threads)]


async def turn(target: Target, work: Work) -> Turn:
    """All prompts, each client one after the other."""
    left = iter(work.prompts)
    replies: list[Reply] = []

    async def client() -> None:
        for prompt in left:
            body = {
                "prompt": list(prompt),
                "n_predict": work.n_tokens,
                "ignore_eos": True,
                "temperature": 0,
                "cache_prompt": False,
                "stream": True,
            }
            reply = await ask(target, "/completion", body)
            if reply.status != 200 or not reply.is_whole:
                raise SystemExit(f"{target.url}: {reply.status} {reply.body[:200]!r}")
            replies.append(reply)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(work.n_clients)))
    seconds = time.perf_counter() - began
    times = [[at for at, event in reply.events if not event.get("stop")] for reply in replies]
    return Turn(
        len(replies) * work.n_tokens / seconds,
        [at[0] - reply.began for at, reply in zip(times, replies, strict=True)],
        [b - a for at in times for a, b in pairwise(at)],
    )


def measure(path: Path, args: argparse.Namespace) -> Row:
    """One line: medians of the turns."""
    chance = random.Random(4)
    lengths = [chance.randint(*args.prompt) for _ in range(args.requests)]
    ids = token_ids(max(lengths) + 37 * args.requests, args.vocab)
    prompts = [ids[37 * i : 37 * i + n] for i, n in enumerate(lengths)]
    work = Work(prompts, args.predict, args.clients)
    with ExitStack() as stack:
        ports = free_port(), free_port()
        ours = stack.enter_context(running(qrt_command(path, args.threads, ports[0]), ports[0]))
        command = peer_command(args.peer, path, args.threads, ports[1], work)
        theirs = stack.enter_context(running(command, ports[1]))
        warm = Work(prompts[:2], 4, 2)
        pairs = []
        for side in (ours, theirs):
            asyncio.run(turn(side, warm))
        for number in range(args.repeat):
            both = []
            for side in (ours, theirs):
                time.sleep(SETTLE_S)
                both.append(asyncio.run(turn(side, work)))
            pairs.append(both)
            note(f"turn {number + 1}: qrt {both[0].tok_s:.1f}, llama-server {both[1].tok_s:.1f}")
    row: Row = {
        "model": path.stem,
        "clients": args.clients,
        "qrt tok/s": median(mine.tok_s for mine, _ in pairs),
        "tok/s, qrt / llama-server": Ratio(median(a.tok_s / b.tok_s for a, b in pairs)),
    }
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        for what in ("first", "between"):
            mine, peer = (
                [percentile(getattr(pair[i], what), share) for pair in pairs] for i in (0, 1)
            )
            ratio = median(a / b for a, b in zip(mine, peer, strict=True))
            row[f"{what} {name}, qrt / llama-server"] = Ratio(ratio)
            row[f"{what} {name} s"] = median(mine)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("--peer", required=True, help="llama-server")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--prompt", type=int, nargs=2, default=(128, 512), help="lengths, from to")
    parser.add_argument("-n", "--predict", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=32000, help="ids of prompts are below it")
    parser.add_argument("-r", "--repeat", type=int, default=5, help="turns; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    write([measure(path, args) for path in args.files], args.output)


if __name__ == "__main__":
    main()

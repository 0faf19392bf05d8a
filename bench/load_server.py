"""Load a server: streams at once beside each alone, then mixed requests and what they leave."""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from report import Row, note, write
from served import Served, served

import qrt

_WORDS = ("def", "class", "return", "print", "list", "dict", "open", "range", "join", "split")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def prompt(rng: random.Random) -> str:
    """A few words."""
    return " ".join(rng.choices(_WORDS, k=rng.randint(2, 40)))


def in_threads(n_threads: int, work: Callable[[int], None]) -> None:
    """Calls work(0), work(1) ... at the same time."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def text_of(server: Served, body: dict[str, object]) -> str:
    """The text of a stream, or what was answered in its place."""
    reply = server.ask("/v1/completions", body)
    if reply.status != 200:
        return f"status {reply.status}"
    return "".join(e["choices"][0]["text"] for e in reply.events if e["choices"])


def streams(server: Served, n_streams: int, n_rounds: int) -> Row:
    """Streams with seeds of their own; each is to be as it is alone, byte by byte."""
    rng = random.Random(1)
    bodies = [
        [
            {
                "prompt": prompt(rng),
                "max_tokens": rng.randint(4, 48),
                "temperature": 1.0,
                "seed": rng.getrandbits(32),
                "stream": True,
            }
            for _ in range(n_rounds)
        ]
        for _ in range(n_streams)
    ]
    together = [[""] * n_rounds for _ in range(n_streams)]

    def run(i: int) -> None:
        for j, body in enumerate(bodies[i]):
            together[i][j] = text_of(server, body)

    started = time.perf_counter()
    in_threads(n_streams, run)
    seconds = time.perf_counter() - started
    note("the same, one after the other")
    n_same = sum(
        text_of(server, {**body, "cache_prompt": False}) == together[i][j]
        for i in range(n_streams)
        for j, body in enumerate(bodies[i])
    )
    return {
        "streams": n_streams,
        "rounds": n_rounds,
        "as alone": f"{n_same} of {n_streams * n_rounds}",
        "seconds": seconds,
    }


def mixed(server: Served, n_requests: int, n_threads: int) -> Iterator[Row]:
    """Requests of all kinds, some of which their clients leave; what the process holds after
    each thousand."""
    rng = random.Random(2)
    statuses: Counter[str] = Counter()
    lock = threading.Lock()
    for done in range(0, n_requests, 1000):
        kinds = [rng.randrange(8) for _ in range(1000)]
        prompts = [prompt(rng) for _ in kinds]

        def run(i: int, kinds: list[int] = kinds, prompts: list[str] = prompts) -> None:
            for kind, text in list(zip(kinds, prompts, strict=True))[i::n_threads]:
                status = _one(server, kind, text)
                with lock:
                    statuses[status] += 1

        in_threads(n_threads, run)
        gc.collect()
        assert server.model is not None
        health = server.model.health
        yield {
            "requests": done + 1000,
            "MB": _memory_mb(),
            "descriptors": _n_descriptors(),
            "threads": threading.active_count(),
            "running": health.n_running,
            "statuses": " ".join(f"{k}:{v}" for k, v in sorted(statuses.items())),
        }


def _one(server: Served, kind: int, text: str) -> str:
    body: dict[str, object] = {"max_tokens": 8, "stream": kind % 2 == 0}
    if kind < 4:
        return str(server.ask("/v1/completions", {"prompt": text, **body}).status)
    if kind < 6:
        messages = [{"role": "user", "content": text}]
        return str(server.ask("/v1/chat/completions", {"messages": messages, **body}).status)
    if kind == 6:
        return str(server.ask("/v1/completions", {"prompt": text, "top_k": "x"}).status)
    with suppress(OSError, ValueError):
        server.leave("/v1/completions", {"prompt": text, **body, "max_tokens": 200}, 0.01)
    return "left"


def _memory_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE / 1e6


def _n_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def main() -> None:
    """One table of streams, one of mixed requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-s", "--streams", type=int, default=64)
    parser.add_argument("-r", "--rounds", type=int, default=20)
    parser.add_argument("-n", "--requests", type=int, default=20_000)
    parser.add_argument("-j", "--threads", type=int, default=16)
    args = parser.parse_args()
    with qrt.load() as model, served(model) as server:
        if args.streams:
            write([streams(server, args.streams, args.rounds)], "md")
        rows = []
        for row in mixed(server, args.requests, args.threads):
            note(str(row))
            rows.append(row)
        if rows:
            write(rows, "md")
        model._core.engine.check_integrity()


if __name__ == "__main__":
    main()

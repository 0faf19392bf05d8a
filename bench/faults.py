"""Measure what a server survives: starts `qrt serve` and runs the cases of `fault_cases` on it."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import fault_cases as cases
from fault_cases import check
from http_load import Reply, Target, ask
from report import Row, note, write

SIZES = {
    "load": {"n_streams": 64, "n_rounds": 20},
    "burst": {"n_requests": 1000},
    "disconnects": {"n_leaving": 500},
    "slow": {"n_slow": 32},
    "demand": {"times": 10},
    "race": {"n_actions": 2000},
    "soak": {"n_requests": 20_000},
    "term": {"n_streams": 16},
    "kill": {"n_times": 20},
}
SMALL = {
    "load": {"n_streams": 16, "n_rounds": 2},
    "burst": {"n_requests": 500},
    "disconnects": {"n_leaving": 42, "n_staying": 2},
    "slow": {"n_slow": 3, "n_normal": 2},
    "demand": {"times": 3, "n_alone": 2},
    "race": {"n_actions": 80},
    "soak": {"n_requests": 500},
    "term": {"n_streams": 6},
    "kill": {"n_times": 2},
}
_PROMPT = "import os\n" * 50
RUNNING: dict[str, Callable[..., Awaitable[Row]]] = {
    "load": cases.load,
    "burst": cases.burst,
    "disconnects": cases.disconnects,
    "slow": cases.slow,
    "demand": cases.demand,
    "race": cases.race,
    "soak": cases.soak,
}
"""Cases on a server that goes on running."""


@contextmanager
def serving(*args: str) -> Iterator[tuple[subprocess.Popen[bytes], Target]]:
    """`qrt serve` on a free port, with the embedded model loaded."""
    command = [sys.executable, "-m", "qrt", "serve", "--port", "0", *args]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        check("http://" in line, f"it did not start: {line}")
        url = "http://" + line.split("http://")[1].split(",")[0].strip()
        target = Target(url, process.pid, "pydoc")
        loaded = asyncio.run(ask(target, "/models/load", {"model": "pydoc", "keep_alive": -1}))
        check(loaded.status == 200, f"it did not load: {loaded.status} {loaded.problem}")
        yield process, target
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def terminated(n_streams: int = 16) -> Row:
    """SIGTERM amid streams: each ends, or is told the end, and the process leaves with 0."""
    with serving() as (process, target):
        replies, late, seconds = asyncio.run(_terminate(process, target, n_streams))
        code = process.wait(60)
    check(code == 0, f"exit code {code}")
    check(all(r.is_whole for r in replies), f"cut off: {[r.problem for r in replies][:3]}")
    check(late.status in (0, 503), f"a request after SIGTERM: {late.status}")
    return {"case": "term", "found": f"{n_streams} streams ended, exit 0", "seconds": seconds}


async def _terminate(
    process: subprocess.Popen[bytes], target: Target, n_streams: int
) -> tuple[Sequence[Reply], Reply, float]:
    streams = [
        asyncio.create_task(cases.completed(target, i, max_tokens=400)) for i in range(n_streams)
    ]
    while (await cases.engine(target))["running"] < n_streams:
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    began = time.perf_counter()
    await asyncio.sleep(0.1)
    late = await cases.completed(target, 0)
    replies = await asyncio.gather(*streams)
    return replies, late, time.perf_counter() - began


def killed(n_times: int = 20) -> Row:
    """SIGKILL at any time: the next start is as the first, its answers too, and prefixes that were
    kept on disk are found.
    """
    chance = random.Random(3)
    expected = ""
    starts, cached = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(n_times):
            began = time.perf_counter()
            with serving("--prefix-cache", folder) as (process, target):
                starts.append(time.perf_counter() - began)
                reply = asyncio.run(cases.completed(target, 0, prompt=_PROMPT))
                expected = expected or reply.text
                check(reply.text == expected, "an answer differs after a kill")
                cached.append(reply.events[-1][1]["timings"]["cache_n"])
                asyncio.run(_kill(process, target, chance))
    check(cached[0] == 0 and min(cached[1:]) > 0, f"stored prefixes after each start: {cached}")
    return {"case": "kill", "found": f"{n_times} clean starts", "slowest start s": max(starts)}


async def _kill(process: subprocess.Popen[bytes], target: Target, chance: random.Random) -> None:
    prompts = [f"# {chance.random()}\n{_PROMPT}" for _ in range(8)]
    streams = [
        asyncio.create_task(cases.completed(target, i, prompt=prompt, max_tokens=200))
        for i, prompt in enumerate(prompts)
    ]
    await asyncio.sleep(chance.random())
    process.kill()
    await asyncio.gather(*streams)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(SIZES)}; all without any")
    parser.add_argument("--small", action="store_true", help="in seconds, as the tests run them")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    sizes = SMALL if args.small else SIZES
    rows: list[Row] = []
    wanted = args.cases or list(SIZES)
    if on_one := [name for name in wanted if name in RUNNING]:
        with serving() as (_, target):
            for name in on_one:
                rows.append(asyncio.run(RUNNING[name](target, **sizes[name])))
                note(str(rows[-1]))
    if "term" in wanted:
        rows.append(terminated(**sizes["term"]))
        note(str(rows[-1]))
    if "kill" in wanted:
        rows.append(killed(**sizes["kill"]))
        note(str(rows[-1]))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write([{column: row.get(column) for column in columns} for row in rows], args.output)


if __name__ == "__main__":
    main()

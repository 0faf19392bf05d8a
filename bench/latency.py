"""Measure what streams that share a model wait between two tokens, against what all give a second.

Prompts of different lengths keep arriving while others decode, as at a server: a stream that ends
is followed by the next. A line for each number of streams and each `latency` that a load may name,
beside "throughput" in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import pairwise
from pathlib import Path

from report import Ratio, Row, counts, median, note, write
from tokens import token_ids

import qrt
from qrt.config import default_threads
from qrt.runtime.policy import SHARED_CHUNKS

SETTLE_S = 0.5
PROMPTS = (128, 512, 256, 384)
"""Tokens of the prompts, in turn."""


class Run:
    """Streams of one turn, and when each of their tokens came."""

    def __init__(self, model: qrt.Model, n_streams: int, n_each: int, n_tokens: int) -> None:
        self._model = model
        self._n_each = n_each
        self._options = {"max_tokens": n_tokens, "seed": 1, "ignore_eos": True}
        self.first: list[float] = []
        self.between: list[float] = []
        start = time.perf_counter()
        asyncio.run(self._all(n_streams))
        self.tok_s = n_streams * n_each * n_tokens / (time.perf_counter() - start)

    async def _all(self, n_streams: int) -> None:
        await asyncio.gather(*[self._one(number) for number in range(n_streams)])

    async def _one(self, number: int) -> None:
        ids = token_ids(max(PROMPTS) + 1, self._model.info.n_vocab)
        for turn in range(self._n_each):
            place = number * self._n_each + turn
            own = (ids[0] + place) % self._model.info.n_vocab  # nothing is stored of it yet
            prompt = [own, *ids[: PROMPTS[place % len(PROMPTS)] - 1]]
            times = [time.perf_counter()]
            stream = self._model.astream(prompt, cache_prompt=False, **self._options)
            async for _ in stream:
                times.append(time.perf_counter())
            self.first.append(times[1] - times[0])
            self.between += [later - sooner for sooner, later in pairwise(times[1:])]


def at(share: float, values: list[float]) -> float:
    """The value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def measure(path: Path, n_streams: int, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """A line for each knob, their runs in turn."""
    runs: dict[str, list[Run]] = {knob: [] for knob in SHARED_CHUNKS}
    for _ in range(args.repeat):
        for knob, done in runs.items():
            n_ctx = max(PROMPTS) + args.decode + 1
            with qrt.load(path, n_threads=n_threads, n_ctx=n_ctx, latency=knob) as model:
                model.generate([1, 2, 3], max_tokens=4)
                time.sleep(SETTLE_S)
                done.append(Run(model, n_streams, args.each, args.decode))
    note(f"{path.stem}: {n_streams} streams measured")
    fastest = median(run.tok_s for run in runs["throughput"])
    longest = median(at(0.99, run.between) for run in runs["throughput"])
    return [
        {
            "model": path.stem,
            "threads": n_threads,
            "streams": n_streams,
            "latency": knob,
            "tok/s": median(run.tok_s for run in done),
            "tok/s / throughput": Ratio(median(run.tok_s for run in done) / fastest),
            "p99 / throughput": Ratio(median(at(0.99, run.between) for run in done) / longest),
            "between p50 ms": median(1e3 * at(0.5, run.between) for run in done),
            "between p99 ms": median(1e3 * at(0.99, run.between) for run in done),
            "first p50 ms": median(1e3 * at(0.5, run.first) for run in done),
            "first p99 ms": median(1e3 * at(0.99, run.first) for run in done),
        }
        for knob, done in runs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("-s", "--streams", type=counts, default=[1, 2, 4, 8, 16], help="as 1,16")
    parser.add_argument("-n", "--decode", type=int, default=64)
    parser.add_argument("-e", "--each", type=int, default=2, help="prompts of each stream")
    parser.add_argument("-r", "--repeat", type=int, default=5, help="runs; medians are shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    lines = [measure(path, n, args.threads, args) for path in args.files for n in args.streams]
    write([row for rows in lines for row in rows], args.output)


if __name__ == "__main__":
    main()

"""Measure generations that share a model: threads beside one call, a prompt that arrives late."""

from __future__ import annotations

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

from report import Ratio, Row, counts, median, note, write
from tokens import token_ids

import qrt
from qrt.config import default_threads

SETTLE_S = 0.5
N_DECODING = 8
N_WARM = 4
N_ENDLESS = 1 << 30


def options(n_tokens: int, seed: int) -> dict[str, object]:
    """Of a generation that computes all of its prompt, and does not end by itself."""
    return {"max_tokens": n_tokens, "seed": seed, "ignore_eos": True, "cache_prompt": False}


def seconds_of_one_call(model: qrt.Model, prompts: list[list[int]], n_tokens: int) -> float:
    start = time.perf_counter()
    model.generate_many(prompts, batch_size=len(prompts), **options(n_tokens, 1))
    return time.perf_counter() - start


def seconds_of_threads(model: qrt.Model, prompts: list[list[int]], n_tokens: int) -> float:
    with ThreadPoolExecutor(len(prompts)) as pool:
        start = time.perf_counter()
        list(pool.map(lambda prompt: model.generate(prompt, **options(n_tokens, 1)), prompts))
        return time.perf_counter() - start


def seconds_of_readers(model: qrt.Model, prompts: list[list[int]], n_tokens: int) -> float:
    def read(prompt: list[int]) -> int:
        return sum(1 for _ in model.stream(prompt, **options(n_tokens, 1)))

    with ThreadPoolExecutor(len(prompts)) as pool:
        start = time.perf_counter()
        list(pool.map(read, prompts))
        return time.perf_counter() - start


def first_token_s(model: qrt.Model, prompt: list[int]) -> float:
    """Seconds to the first token of `prompt`."""
    start = time.perf_counter()
    model.generate(prompt, **options(1, 1))
    return time.perf_counter() - start


class Decoding:
    """Streams that threads read one token at a time, and when they got each."""

    def __init__(self, model: qrt.Model, prompts: list[list[int]]) -> None:
        self._stop = threading.Event()
        self._times: list[list[float]] = [[] for _ in prompts]
        self._threads = [
            threading.Thread(target=self._read, args=(model, prompt, times))
            for prompt, times in zip(prompts, self._times, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        while any(len(times) < N_WARM for times in self._times):
            time.sleep(0.01)

    def _read(self, model: qrt.Model, prompt: list[int], times: list[float]) -> None:
        for _ in model.stream(prompt, cancel=self._stop, **options(N_ENDLESS, 1)):
            times.append(time.perf_counter())

    def close(self) -> float:
        """Ends them; the longest time that one waited for a token."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return max(b - a for times in self._times for a, b in pairwise(times))


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> Row:
    """One line: both measurements on one model."""
    n_ctx = args.prompt + 64
    with qrt.load(path, n_threads=n_threads, n_ctx=n_ctx, seed=1) as model:
        max_rows = model._core.engine.max_rows
        chunk = min(model._core.engine.limits.shared_chunk, max_rows)
        ids = token_ids(args.prompt, model.info.n_vocab)
        prompts = [ids[i : i + args.depth] for i in range(args.sequences)]
        model.generate(ids[:8], **options(4, 1))
        turns = []
        for _ in range(args.repeat):
            times = []
            for run in (seconds_of_one_call, seconds_of_threads, seconds_of_readers):
                time.sleep(SETTLE_S)
                times.append(run(model, prompts, args.decode))
            turns.append(times)
        note(f"{path.stem}: {args.sequences} threads measured")
        late = []
        for turn in range(args.repeat):
            time.sleep(SETTLE_S)
            alone = first_token_s(model, ids)
            with model.session() as session:
                own = {**options(1, 1), "cache_prompt": True, "cache_salt": str(turn)}
                session.generate(ids[:-chunk], **own)
                start = time.perf_counter()
                session.generate(ids, **own)
                chunk_s = time.perf_counter() - start
            decoding = Decoding(model, prompts[:N_DECODING])
            beside = first_token_s(model, ids)
            late.append((decoding.close() / chunk_s, beside / alone))
        return {
            "model": path.stem,
            "threads": n_threads,
            f"{args.sequences} generate / generate_many": Ratio(median(a / b for a, b, _ in turns)),
            f"{args.sequences} stream / generate_many": Ratio(median(a / c for a, _, c in turns)),
            f"longest gap / chunk of {chunk}": Ratio(median(gap for gap, _ in late)),
            f"first token of {args.prompt} / alone": Ratio(median(first for _, first in late)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-s", "--sequences", type=int, default=16)
    parser.add_argument("-n", "--decode", type=int, default=64)
    parser.add_argument("-d", "--depth", type=int, default=32, help="tokens of each prompt")
    parser.add_argument("-p", "--prompt", type=int, default=4000, help="tokens of the late prompt")
    parser.add_argument("-r", "--repeat", type=int, default=3, help="runs; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    each = partial(measure, args=args)
    write([each(path, t) for t in args.threads for path in args.files], args.output)


if __name__ == "__main__":
    main()

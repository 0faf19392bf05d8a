"""Measure two models that generate at once on the same cores, beside one after the other."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from pathlib import Path

from report import Ratio, Row, median, note, write
from tokens import token_ids

import qrt
from qrt.config import default_threads


def measure(path: Path | None, args: argparse.Namespace) -> Row:
    """One line: the same work by two models in one thread after the other, and in two at once."""
    n_threads = default_threads()
    models = [qrt.load(path, n_threads=n_threads) for _ in range(2)]
    prompt = token_ids(32, models[0].info.n_vocab)

    def generate(model: qrt.Model) -> None:
        model.generate(prompt, max_tokens=args.decode, seed=1, ignore_eos=True, cache_prompt=False)

    def in_row() -> None:
        for model in models:
            generate(model)

    def at_once() -> None:
        threads = [threading.Thread(target=generate, args=(model,)) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def timed(work: Callable[[], None]) -> tuple[float, float]:
        """Seconds on the clock, and of all cores."""
        wall, busy = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - wall, time.process_time() - busy

    in_row()
    rounds = []
    for _ in range(args.repeat):
        rounds.append((timed(in_row), timed(at_once)))
        note(" ".join(f"{wall:.2f} s ({busy:.2f})" for wall, busy in rounds[-1]))
    for model in models:
        model.close()
    return {
        "model": path.stem if path else "embedded",
        "threads": n_threads,
        "at once / in a row": Ratio(median(both[0] / row[0] for row, both in rounds)),
        "time of cores, at once / in a row": Ratio(
            median(both[1] / row[1] for row, both in rounds)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="GGUF files; the embedded one without")
    parser.add_argument("-n", "--decode", type=int, default=32)
    parser.add_argument("-r", "--repeat", type=int, default=9, help="rounds; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    write([measure(path, args) for path in args.files or [None]], args.output)


if __name__ == "__main__":
    main()

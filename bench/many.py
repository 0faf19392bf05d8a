"""Measure several sequences decoded together, beside llama.cpp where it is given."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from report import Ratio, Row, counts, median, note, write
from tokens import token_ids
from vs_llama_cpp import SETTLE_S, PeerSide

from qrt.config import default_threads
from qrt.progress import no_progress
from qrt.runtime.engine import Engine
from qrt.runtime.loader import LoadOptions, load
from qrt.runtime.steps import Rows, last_rows

LAST = last_rows(1, 1)


class Batch:
    """qrt's side: sequences that all stand at `depth`."""

    def __init__(self, path: Path, n_threads: int, depth: int, n_sequences: int, n: int) -> None:
        options = LoadOptions(n_ctx=max(1024, depth + n + 1), n_threads=n_threads)
        self.loaded = load(path, options, no_progress)
        self.engine = Engine(self.loaded.executor, self.loaded.graph.states, self.loaded.n_ctx)
        self.ids = token_ids(depth + n, self.loaded.graph.n_vocab)
        self.depth = depth
        self.sequences = [self.engine.open() for _ in range(n_sequences)]
        self._rewind()

    def _rewind(self) -> None:
        """Cuts every sequence back to `depth`, filling it first where it is empty."""
        for seq in self.sequences:
            n_kept = self.engine.cut(seq, self.depth)
            if n_kept < self.depth:
                self.engine.append(seq, self.ids[n_kept : self.depth])

    def decode(self, n_sequences: int, n_tokens: int) -> float:
        """Seconds for `n_tokens` steps of a row from each of `n_sequences`."""
        self._rewind()
        rows = self.sequences[:n_sequences]
        start = time.perf_counter()
        for token in self.ids[self.depth : self.depth + n_tokens]:
            self.engine.step([Rows(seq, [token], LAST) for seq in rows])
        return time.perf_counter() - start


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """A row for every number of sequences."""
    ours = Batch(path, n_threads, args.depth, max(args.sequences), args.decode)
    peer = None
    if args.peer_python:
        peer = PeerSide(args.peer_python, path, n_threads, args.depth + args.decode)
    rows: list[Row] = []
    single = 0.0
    for n_sequences in args.sequences:
        turns = []
        for _ in range(args.repeat):
            time.sleep(SETTLE_S)
            mine = ours.decode(n_sequences, args.decode)
            time.sleep(SETTLE_S)
            theirs = peer.batch(args.decode, args.depth, n_sequences) if peer else 0.0
            turns.append((mine, theirs))
        tok_s = n_sequences * args.decode / median(mine for mine, _ in turns)
        single = single or tok_s / n_sequences
        ratio = median(theirs / mine for mine, theirs in turns)
        rows.append({
            "model": path.stem,
            "threads": n_threads,
            "sequences": n_sequences,
            "of one alone": Ratio(tok_s / single),
            "qrt / llama.cpp": Ratio(ratio) if peer else None,
            "qrt tok/s": tok_s,
        })  # fmt: skip
        note(f"{path.stem}: {n_sequences} sequences {tok_s:.1f} tok/s")
    if peer:
        peer.close()
    ours.engine.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-s", "--sequences", type=counts, default=[1, 2, 4, 8, 16])
    parser.add_argument("-n", "--decode", type=int, default=16)
    parser.add_argument("-d", "--depth", type=int, default=128)
    parser.add_argument("-r", "--repeat", type=int, default=5, help="runs; the median is shown")
    parser.add_argument("--peer-python", help="an interpreter that has llama-cpp-python")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    each = partial(measure, args=args)
    write([row for t in args.threads for path in args.files for row in each(path, t)], args.output)


if __name__ == "__main__":
    main()

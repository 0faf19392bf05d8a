"""Measure qrt beside llama.cpp, turn by turn in one run, and print the ratios.

llama.cpp is the one in llama-cpp-python, in a process of its own: under the interpreter given by
--peer-python, or this one. Each has the model loaded; only one computes at a time, and memory is
read before each turn. Every test of llama.cpp runs with flash attention off and on: the better one
counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qrt_side import QrtSide
from report import Ratio, Row, Share, counts, gb_s, median, note, peer_python, shown, write
from worker import Worker

from qrt.backends.cpu.ceilings import measure_read_gb_s
from qrt.config import default_threads
from qrt.progress import no_progress

WARM_UP = 32
"""Tokens of a first prompt, which nothing is measured of."""

SETTLE_S = 0.5
"""Pause after each turn: idle threads of the side before may spin for a while."""


class PeerSide:
    """The process that runs llama.cpp; see peer_worker.py."""

    def __init__(self, python: str, path: Path, n_threads: int, n_ctx: int) -> None:
        self._worker = Worker(python, "peer_worker.py")
        request = {"path": str(path), "n_threads": n_threads, "n_ctx": n_ctx}
        self.version: str = self._worker.ask("load", **request)["version"]

    def prefill(self, n_tokens: int, flash: bool) -> float:
        """Seconds for a prompt from an empty cache."""
        return float(self._worker.ask("prefill", n_tokens=n_tokens, flash=flash)["seconds"])

    def decode(self, n_tokens: int, depth: int, flash: bool) -> float:
        """Seconds for tokens one by one behind `depth` positions."""
        answer = self._worker.ask("decode", n_tokens=n_tokens, depth=depth, flash=flash)
        return float(answer["seconds"])

    def batch(self, n_tokens: int, depth: int, n_sequences: int) -> float:
        """Seconds for steps of a row from each of several sequences, without flash attention."""
        answer = self._worker.ask("batch", n_tokens=n_tokens, depth=depth, n_sequences=n_sequences)
        return float(answer["seconds"])

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def compare(
    read_gb_s: Callable[[], float],
    ours: Callable[[], float],
    theirs: Callable[[bool], float],
    n_tokens: int,
    n_bytes: float | None,
    repeat: int,
) -> Row:
    """The columns of one test; `n_bytes` are those it has to read, None where that is no limit."""

    def settled(measure: Callable[[], float]) -> float:
        time.sleep(SETTLE_S)
        return measure()

    reads, qrt_s = [], []
    peer_s: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeat):
        reads.append(settled(read_gb_s))
        qrt_s.append(settled(ours))
        for flash, seconds in peer_s.items():
            seconds.append(settled(partial(theirs, flash)))
    flash = min(peer_s, key=lambda setting: median(peer_s[setting]))

    def of_read(seconds: list[float]) -> Share | None:
        if n_bytes is None:
            return None
        pairs = zip(reads, seconds, strict=True)
        return Share(median(gb_s(n_bytes, s) / read for read, s in pairs))

    ratio = median(theirs / ours for ours, theirs in zip(qrt_s, peer_s[flash], strict=True))
    return {
        "qrt / llama.cpp": Ratio(ratio),
        "qrt tok/s": n_tokens / median(qrt_s),
        "llama.cpp tok/s": n_tokens / median(peer_s[flash]),
        "qrt of read": of_read(qrt_s),
        "llama.cpp of read": of_read(peer_s[flash]),
        "read GB/s": median(reads),
        "flash": "on" if flash else "off",
    }


def measure(path: Path, n_threads: int, args: argparse.Namespace) -> list[Row]:
    """All tests of one file."""
    n_ctx = args.depth + max(args.prefill, args.decode, WARM_UP)
    ours = QrtSide(path, n_threads, n_ctx)
    ours.prefill(WARM_UP)
    ours.decode(2, 0)
    peer = PeerSide(args.peer_python, path, n_threads, n_ctx)
    name = f"{path.stem}, {n_threads} threads, llama-cpp-python {peer.version}"
    read_gb_s = partial(measure_read_gb_s, n_threads, no_progress)
    rows: list[Row] = []

    def add(
        test: str,
        n_tokens: int,
        n_bytes: float | None,
        qrt: Callable[[], float],
        llama_cpp: Callable[[bool], float],
    ) -> None:
        row = compare(read_gb_s, qrt, llama_cpp, n_tokens, n_bytes, args.repeat)
        rows.append({"model": path.stem, "threads": n_threads, "test": test} | row)
        note(f"{name}: {test} {shown(row['qrt / llama.cpp'])}")

    if n := args.prefill:
        add(f"pp{n}", n, None, partial(ours.prefill, n), partial(peer.prefill, n))
    n = args.decode
    for depth in dict.fromkeys((0, args.depth) if n else ()):
        ours.decode(1, depth)  # fills the depth before anything is timed
        for flash in (False, True):
            peer.decode(1, depth, flash)
        add(
            f"tg{n}" + (f" @ d{depth}" if depth else ""),
            n,
            ours.bytes_read(n, depth),
            partial(ours.decode, n, depth),
            partial(peer.decode, n, depth),
        )
    peer.close()
    ours.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("--peer-python", help="interpreter that has llama-cpp-python")
    parser.add_argument("-t", "--threads", type=counts, default=[default_threads()], help="as 1,2")
    parser.add_argument("-p", "--prefill", type=int, default=512, help="0: none")
    parser.add_argument("-n", "--decode", type=int, default=128, help="0: none")
    parser.add_argument("-d", "--depth", type=int, default=4096)
    parser.add_argument("-r", "--repeat", type=int, default=5, help="turns; the median is shown")
    parser.add_argument("-o", "--output", choices=("md", "json"), default="md")
    args = parser.parse_args()
    args.peer_python = peer_python(parser, args.peer_python)
    rows = [
        row
        for n_threads in args.threads
        for path in args.files
        for row in measure(path, n_threads, args)
    ]
    write(rows, args.output)


if __name__ == "__main__":
    main()

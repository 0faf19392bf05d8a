"""Measure what a token of a prompt costs by the prompt's length, and what a sequence then takes.

    python bench/long_prompts.py FILE... [-p 512,2048,8192,32768] [-t 2] [--page]

Where all layers have a state of fixed size, both columns should stay as they are. The lengths take
turns, so that what else the machine does falls on all of them. With --page the table and a picture
of it take the place of those in docs/reference/long-prompts.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from length_picture import write_page
from qrt_side import QrtSide
from report import Ratio, Row, counts, median, note, write

from qrt.backends.cpu.states import unit_bytes
from qrt.config import default_threads
from qrt.graph.state import KV, PAGE_LEN


def sequence_bytes(model: QrtSide, n_tokens: int) -> int:
    """Bytes of what a sequence of so many tokens is remembered by."""
    total = 0
    for group in model.loaded.graph.states:
        pages = -(-n_tokens // PAGE_LEN) if isinstance(group, KV) else 1
        total += pages * unit_bytes(group, "f16")
    return total


def measure(path: Path, n_threads: int, lengths: list[int], repeat: int) -> list[Row]:
    """One row for each length; its cost beside that of the first."""
    model = QrtSide(path, n_threads, max(lengths))
    model.prefill(32)
    turns = []
    for turn in range(repeat):
        note(f"{path.stem}: turn {turn + 1} of {repeat}")
        turns.append([model.prefill(n) / n for n in lengths])
    rows = [
        {
            "model": path.stem,
            "threads": n_threads,
            "tokens": n,
            "ms/token": 1e3 * median(turn[i] for turn in turns),
            f"cost beside {lengths[0]}": Ratio(median(turn[i] / turn[0] for turn in turns)),
            "MB of a sequence": sequence_bytes(model, n) / 1e6,
        }
        for i, n in enumerate(lengths)
    ]
    model.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("-p", "--prompts", type=counts, default=[512, 2048, 8192, 32768])
    parser.add_argument("-t", "--threads", type=int, default=default_threads())
    parser.add_argument("-r", "--repeat", type=int, default=5)
    parser.add_argument("-o", "--output", choices=["md", "json"], default="md")
    parser.add_argument("--page", action="store_true", help="write the page of the site, too")
    args = parser.parse_args()
    rows: list[Row] = []
    for path in args.models:
        rows += measure(path, args.threads, args.prompts, args.repeat)
    write(rows, args.output)
    if args.page:
        write_page(rows)


if __name__ == "__main__":
    main()

"""The whole table of measurements in one command: every script of this folder beside llama.cpp.

Takes GGUF files of one shape in several block formats; the first is also measured at depth, with
many sequences and from the start of the process. Writes Markdown, and the same rows as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from report import Ratio, Row, Share, markdown, note

PLAIN = ("tok/s", " s", " MB")
RATIOS, SHARES = ("llama.cpp", "of one alone", "peak /"), ("of read", "/ read")


@dataclass(frozen=True)
class Part:
    """One table: its heading, the script, and what it is told."""

    title: str
    script: str
    arguments: list[str]


def parts(files: list[str], peer: str, threads: str, repeat: int) -> list[Part]:
    """The tables in order."""
    common, beside = ["-t", threads, "-r", str(repeat)], ["--peer-python", peer]
    first, vs = files[0], "vs_llama_cpp.py"
    short, long = ["-p", "512", "-n", "32", "-d", "0"], ["-p", "4096", "-n", "32", "-d", "4096"]
    return [
        Part("Kernels of all formats", "kernels.py", common),
        Part("Beside llama.cpp", vs, [*files, *common, *beside, *short]),
        Part("A long context", vs, [first, *common, *beside, *long]),
        Part("Several sequences", "many.py", [first, *common, *beside]),
        Part("From process start", "e2e.py", ["--startup", first, *common, *beside]),
    ]


def rows_of(part: Part) -> list[Row]:
    """What a script prints as JSON lines; its progress goes on to standard error."""
    script = Path(__file__).with_name(part.script)
    command = [sys.executable, str(script), *part.arguments, "-o", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{part.script}: exit code {done.returncode}; its message stands above")
    return [json.loads(line) for line in done.stdout.splitlines()]


def dressed(row: Row) -> Row:
    """Ratios and shares shown as such: JSON has plain numbers."""

    def dress(column: str, value: object) -> object:
        if isinstance(value, float) and any(part in column for part in SHARES):
            return Share(value)
        is_ratio = any(part in column for part in RATIOS) and not column.endswith(PLAIN)
        return Ratio(value) if isinstance(value, float) and is_ratio else value

    return {column: dress(column, value) for column, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", help="GGUF files")
    parser.add_argument("--peer-python", required=True, help="interpreter with llama-cpp-python")
    parser.add_argument("-t", "--threads", default="2")
    parser.add_argument("-r", "--repeat", type=int, default=5, help="turns; the median is shown")
    parser.add_argument("-o", "--output", type=Path, default=Path("table"), help="without suffix")
    args = parser.parse_args()
    found: dict[str, list[Row]] = {}
    for part in parts(args.files, args.peer_python, args.threads, args.repeat):
        note(part.title)
        found[part.title] = rows_of(part)
    tables = [f"## {title}\n\n{markdown([*map(dressed, rows)])}\n" for title, rows in found.items()]
    args.output.with_suffix(".md").write_text("\n".join(tables))
    args.output.with_suffix(".json").write_text(json.dumps(found, indent=1))
    note(f"written: {args.output.with_suffix('.md')}, {args.output.with_suffix('.json')}")


if __name__ == "__main__":
    main()

"""What the benches share: tables in Markdown or JSON lines, medians, GB, where the peer is."""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
"""One line of a table: column -> value, in order of the columns; None where there is none."""


class Share(float):
    """A fraction: 0.873 is shown as 87%."""


class Ratio(float):
    """How many times as fast: 1.873 is shown as 1.87 x."""


def peer_python(parser: argparse.ArgumentParser, given: str | None) -> str:
    """The interpreter that has llama-cpp-python: the one given, else this one if it does."""
    if given is None and importlib.util.find_spec("llama_cpp") is None:
        parser.error("llama-cpp-python is not installed here: name an interpreter that has it")
    return given or sys.executable


def median(values: Iterable[float]) -> float:
    """The median of at least one value."""
    return float(statistics.median(values))


def gb_s(n_bytes: float, seconds: float) -> float:
    """1e9 bytes a second."""
    return n_bytes / seconds / 1e9


def shown(value: object) -> str:
    """A value as the tables show it; plain floats keep three digits that count."""
    if value is None:
        return "-"
    if isinstance(value, Share):
        return f"{value:.0%}"
    if isinstance(value, Ratio):
        return f"{value:.2f} x"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
    return str(value)


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table; the columns are those of the first row."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[shown(row[column]) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(rows: Sequence[Row], output: str) -> None:
    """The rows on standard output, as `md` or `json` lines."""
    if output == "json":
        for row in rows:
            print(json.dumps(row))
    else:
        print(markdown(rows))


def note(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def counts(text: str) -> list[int]:
    """A list of numbers as an argument: "1,2" is [1, 2]."""
    return [int(part) for part in text.split(",")]

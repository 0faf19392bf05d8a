"""What each kind of op means, in NumPy and float64: `run(step, op)` in a file of the op's name."""

from __future__ import annotations

from typing import Any

from qrt.backends.base import file_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.op import Op


def runner(op: Op) -> Any:
    """The file of an op. Raises BackendError where this backend has none."""
    return file_of(__name__, op.kind, f"the reference backend does not know op {op.kind!r}")


def run(step: Step, op: Op) -> Array | None:
    """The value that an op makes, (n_rows, width); None if it makes none."""
    made: Array | None = runner(op).run(step, op)
    return made

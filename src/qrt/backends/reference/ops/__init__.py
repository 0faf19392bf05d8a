"""What each kind of op means, in NumPy and float64: `run(step, op)` in a file of the op's name."""

from __future__ import annotations

import importlib

from qrt.backends.reference.step import Array, Step
from qrt.graph.op import Op


def run(step: Step, op: Op) -> Array | None:
    """The value that an op makes, (n_rows, width); None if it makes none."""
    made: Array | None = importlib.import_module(f"{__name__}.{op.kind}").run(step, op)
    return made

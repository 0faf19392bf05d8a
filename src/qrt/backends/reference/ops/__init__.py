"""What each kind of op means, in NumPy and float64: `run(step, op)` in a file of the op's name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

from qrt.backends.reference.step import Array, Step
from qrt.graph.op import Op


def run(step: Step, op: Op) -> Array | None:
    """The value that an op makes, (n_rows, width); None if it makes none."""
    return _run_of(op.kind)(step, op)


@cache
def _run_of(kind: str) -> Callable[[Step, Op], Array | None]:
    found: Callable[[Step, Op], Array | None] = importlib.import_module(f"{__name__}.{kind}").run
    return found

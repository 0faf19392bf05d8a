"""What each kind of op means, in NumPy and float64: `run(step, op)` in a file of the op's name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

from qrt.backends.reference.step import Array, Step
from qrt.errors import BackendError
from qrt.graph.op import Op


def run(step: Step, op: Op) -> Array | None:
    """The value that an op makes, (n_rows, width); None if it makes none."""
    return run_of(op.kind)(step, op)


@cache
def run_of(kind: str) -> Callable[[Step, Op], Array | None]:
    """The function of a kind of op. Raises BackendError where there is none."""
    name = f"{__name__}.{kind}"
    try:
        found: Callable[[Step, Op], Array | None] = importlib.import_module(name).run
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendError(f"the reference backend does not know op {kind!r}") from None
    return found

"""What each kind of op means, in NumPy and float64: `run(step, op)` in a file of the op's name."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from qrt.backends.reference.step import Array, Step
from qrt.errors import BackendError
from qrt.graph.op import Op


def run(step: Step, op: Op) -> Array | None:
    """The value that an op makes, (n_rows, width); None if it makes none."""
    made: Array | None = file_of(op.kind).run(step, op)
    return made


@cache
def file_of(kind: str) -> Any:
    """The file of a kind of op. Raises BackendError where there is none."""
    name = f"{__name__}.{kind}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendError(f"the reference backend does not know op {kind!r}") from None

"""How the CPU runs each kind of op: the name of its kernel and the record of its arguments.

A file has the name of the op. `kernel(op, task, variant)` is the name, `arguments(op, task,
recorder)` the layout of the record with its values. Where threads share scratch memory,
`scratch_bytes(op, n_positions)` is its size.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from qrt.errors import BackendError
from qrt.graph.op import Op


def runner(op: Op) -> Any:
    """The file of an op. Raises BackendError as `file_of` does."""
    return file_of(op.kind)


@cache
def file_of(kind: str) -> Any:
    """The file of a kind of op. Raises BackendError where there is none."""
    name = f"{__name__}.{kind}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendError(
            f"the CPU backend has no kernel for op {kind!r}; use backend='reference'"
        ) from None

"""How the CPU runs each kind of op: the name of its kernel and the record of its arguments.

A file has the name of the op. `kernel(task, model)` is the name, `arguments(task, memory)` the
layout of the record with its values. Where threads share scratch memory, `scratch_bytes(op,
n_positions)` is its size.
"""

from __future__ import annotations

import importlib
from typing import Any

from qrt.errors import BackendError
from qrt.graph.op import Op


def runner(op: Op) -> Any:
    """The file of an op. Raises BackendError where this backend has none."""
    name = f"{__name__}.{op.kind}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendError(
            f"the CPU backend has no kernel for op {op.kind!r}; use backend='reference'"
        ) from None

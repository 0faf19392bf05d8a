"""How the CPU runs each kind of op: the name of its kernel and the record of its arguments.

A file has the name of the op. `kernel(op, task, variant)` is the name, `arguments(op, task,
recorder)` the layout of the record with its values. Where threads share scratch memory,
`scratch_bytes(op, n_positions, max_rows)` is its size.
"""

from __future__ import annotations

from typing import Any

from qrt.backends.base import file_of
from qrt.graph.op import Op


def runner(op: Op) -> Any:
    """The file of an op. Raises BackendError where this backend has none."""
    lack = f"the CPU backend has no kernel for op {op.kind!r}; use backend='reference'"
    return file_of(__name__, op.kind, lack)

"""Some columns of each run of a row."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.slice import Slice


def run(step: Step, op: Slice) -> Array:
    x = step.values[op.x]
    runs = x.reshape(len(x), -1, op.group)  # (n_rows, n_runs, group)
    return runs[:, :, op.start : op.start + op.size].reshape(len(x), -1)

"""Some columns of each run of a row."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.slice import Slice


def run(step: Step, op: Slice) -> Array:
    x = step.values[op.x]
    n_runs = x.shape[1] // op.group
    runs = x.reshape(len(x), n_runs, op.group)
    return runs[:, :, op.start : op.start + op.size].reshape(len(x), n_runs * op.size)

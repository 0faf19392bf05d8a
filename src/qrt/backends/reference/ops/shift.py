"""The row before, of the same sequence."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.shift import Shift


def run(step: Step, op: Shift) -> Array:
    x = step.values[op.x]
    out = np.empty_like(x)
    for rows, state in step.states(op.use, op.layer, (op.dim,)):
        for row in rows:
            out[row], state[:] = state, x[row]
    return out

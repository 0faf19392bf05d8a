"""A causal convolution of each channel."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.elementwise import silu
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.conv import Conv


def run(step: Step, op: Conv) -> Array:
    x = step.values[op.x.value][:, op.x.start : op.x.start + op.dim]
    out = np.zeros(x.shape) if op.bias is None else np.tile(step.weights[op.bias], (len(x), 1))
    n_before = op.n_taps - 1
    for rows, tail in step.states(op.state, op.layer, (n_before, op.dim)):
        seen = np.concatenate([tail, x[rows.start : rows.stop]])
        for j, tap in enumerate(step.weights[op.weight].T):
            out[rows.start : rows.stop] += tap * seen[j : j + len(rows)]
        tail[:] = seen[len(rows) :]
    return silu(out) if op.silu else out

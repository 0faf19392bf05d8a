"""A diagonal recurrence behind a short convolution, row by row."""

from __future__ import annotations

import numpy as np
from toys.ops import N_TAIL, Scan

from qrt.backends.reference.step import Array, Step


def run(step: Step, op: Scan) -> Array:
    x, taps = step.values[op.x], step.weights[op.taps]
    keep = 1.0 / (1.0 + np.exp(-step.weights[op.decay]))
    out = np.empty_like(x)
    for rows, state in step.states("scan", op.layer, (1 + N_TAIL, op.dim)):
        for row in rows:
            seen = np.vstack([state[1:], x[row]])  # (N_TAIL + 1, dim)
            state[0] = keep * state[0] + (seen * taps).sum(axis=0)
            state[1:] = seen[1:]
            out[row] = np.tanh(state[0]) * x[row]
    return out

"""A diagonal recurrence behind a short convolution, row by row."""

from __future__ import annotations

import numpy as np
from toys.ops import N_TAIL, Scan

from qrt.backends.reference.step import Array, Step
from qrt.graph.batch import NO_PAGE


def run(step: Step, op: Scan) -> Array:
    x, taps = step.values[op.x], step.weights[op.taps]
    keep = 1.0 / (1.0 + np.exp(-step.weights[op.decay]))
    out, row = np.empty_like(x), 0
    for segment, (source, target) in zip(
        step.batch.segments, step.slot_pairs(op.layer), strict=True
    ):
        state = np.zeros((1 + N_TAIL, op.dim))
        if source != NO_PAGE:
            state = step.slots[op.layer][source].view(np.float64).reshape(state.shape).copy()
        for _ in segment.tokens:
            seen = np.vstack([state[1:], x[row]])  # (N_TAIL + 1, dim)
            state[0] = keep * state[0] + (seen * taps).sum(axis=0)
            state[1:] = seen[1:]
            out[row] = np.tanh(state[0]) * x[row]
            row += 1
        step.slots[op.layer][target] = state.reshape(-1).view(np.uint8)
    return out

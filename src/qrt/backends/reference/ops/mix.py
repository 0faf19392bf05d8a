"""Weighted sums of values that lie side by side in a row."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.mix import Mix


def run(step: Step, op: Mix) -> Array:
    x = step.values[op.x]
    runs = x.reshape(len(x), op.n_in, x.shape[1] // op.n_in)
    factors = np.array(op.fixed).reshape(op.n_out, op.n_in)
    if op.row_weights is not None:
        factors = factors + step.values[op.row_weights].reshape(len(x), *factors.shape)
    out: Array = factors @ runs
    return out.reshape(len(x), op.n_out * runs.shape[2])

"""The heads of two values side by side."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.join import Join


def run(step: Step, op: Join) -> Array:
    a, b = step.values[op.a], step.values[op.b]
    n_rows, n_heads = len(a), a.shape[1] // op.a_width
    a = a.reshape(n_rows, n_heads, op.a_width)
    b = b.reshape(n_rows, b.shape[1] // op.b_width, op.b_width)
    b = np.broadcast_to(b, (n_rows, n_heads, op.b_width))
    return np.concatenate([a, b], axis=2).reshape(n_rows, n_heads * (op.a_width + op.b_width))

"""A matrix of its own for each head."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.head_linear import HeadLinear


def run(step: Step, op: HeadLinear) -> Array:
    x = step.values[op.x]
    heads = x.reshape(len(x), op.n_heads, x.shape[1] // op.n_heads)
    out: Array = np.einsum("rhi,hoi->rho", heads, step.weights[op.weight])
    return out.reshape(len(x), op.n_heads * op.n_out)

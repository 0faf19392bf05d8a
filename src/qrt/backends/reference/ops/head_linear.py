"""A matrix of its own for each head."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.head_linear import HeadLinear


def run(step: Step, op: HeadLinear) -> Array:
    x = step.values[op.x].reshape(len(step.values[op.x]), op.n_heads, -1)
    out: Array = np.einsum("rhi,hoi->rho", x, step.weights[op.weight])
    return out.reshape(len(x), -1)

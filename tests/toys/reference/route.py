"""Softmax over experts, of which two stay."""

from __future__ import annotations

import numpy as np
from toys.ops import Route

from qrt.backends.reference.step import Array, Step


def run(step: Step, op: Route) -> Array:
    score = step.values[op.x] @ step.weights[op.weight].T  # (n_rows, n_experts)
    weight = np.exp(score - score.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    weight[weight < np.sort(weight, axis=1)[:, -2:-1]] = 0.0
    return weight

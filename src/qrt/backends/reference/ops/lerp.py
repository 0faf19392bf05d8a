"""From one value towards another, by factors of each channel."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.lerp import Lerp


def run(step: Step, op: Lerp) -> Array:
    x = step.values[op.x]
    factors = np.zeros_like(x)
    if op.weight is not None:
        factors += step.weights[op.weight].reshape(op.n_weights, -1)[op.weight_row]
    if op.more is not None:
        factors += step.values[op.more][:, op.part * x.shape[1] :][:, : x.shape[1]]
    return x + (step.values[op.other] - x) * factors

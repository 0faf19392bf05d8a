"""Each routed row meets the matrix of its expert."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.route import experts_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.expert_linear import ExpertLinear


def run(step: Step, op: ExpertLinear) -> Array:
    x = step.values[op.x]
    experts = np.sort(experts_of(step.values[op.route], op.n_used).ravel())  # of routed rows
    out = np.empty((len(x), op.n_out))
    for expert in np.unique(experts):
        rows = experts == expert
        out[rows] = x[rows] @ step.weights[op.weight][expert].T
    if op.scale is not None:
        out *= step.weights[op.scale][experts, None]
    return out if op.bias is None else out + step.weights[op.bias][experts]

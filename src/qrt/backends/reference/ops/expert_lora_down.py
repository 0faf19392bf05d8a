"""The first product of low-rank adapters of experts, for each row and each expert it goes to."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.lora_down import in_runs
from qrt.backends.reference.ops.route import experts_of, order_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.expert_lora_down import ExpertLoraDown


def run(step: Step, op: ExpertLoraDown) -> Array:
    route, x = step.values[op.route], step.values[op.x]
    rows = np.argsort(order_of(route, op.n_used)) if op.routed else None
    pairs = np.repeat(x, op.n_used, axis=0) if rows is None else x[rows]  # by row and choice
    weight, experts = step.weights[op.weight], experts_of(route, op.n_used).ravel()
    made = [in_runs(x[None], weight[e]) for x, e in zip(pairs, experts, strict=True)]
    out = np.concatenate(made)
    if op.weighted:
        out = out * route[:, op.n_used :].reshape(-1, 1)
    return out.reshape(len(route), -1)

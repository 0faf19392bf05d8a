"""The second product of low-rank adapters, added to what they adapt."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.lora_up import LoraUp, Part


def run(step: Step, op: LoraUp) -> Array:
    y, t = step.values[op.y], step.values[op.t]
    sums = t.reshape(len(t), op.n_runs, -1).sum(axis=1)
    scales = step.scales if len(y) == len(step.scales) else step.scales[step.logit_rows]
    return y + products(sums, step.weights[op.weight], op.parts, scales)


def products(t: Array, weight: Array, parts: Iterable[Part], scales: Array) -> Array:
    """What the parts add to rows of these scales (n_rows, n_adapters), t being summed up."""
    total, first = np.zeros((len(t), len(weight))), 0
    for part in parts:
        product = t[:, part.at : part.at + part.rank] @ weight[:, first : first + part.rank].T
        total += scales[:, part.adapter, None] * part.factor * product
        first += part.rank
    return total

"""The first product of low-rank adapters, run by run."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.lora_down import RUN, LoraDown


def run(step: Step, op: LoraDown) -> Array:
    return in_runs(step.values[op.x], step.weights[op.weight])


def in_runs(x: Array, weight: Array) -> Array:
    """x @ weight.T for each run of x, side by side."""
    starts = range(0, x.shape[1], RUN)
    return np.concatenate([x[:, i : i + RUN] @ weight[:, i : i + RUN].T for i in starts], axis=1)

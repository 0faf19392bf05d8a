"""RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016)."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.norm import Norm


def run(step: Step, op: Norm) -> Array:
    x = step.values[op.x]
    groups = x.reshape(len(x), x.shape[1] // op.group, op.group)  # (n_rows, n_groups, group)
    if op.norm == "layer":
        groups = groups - groups.mean(axis=-1, keepdims=True)
    scale: Array = 1.0 / np.sqrt((groups**2).mean(axis=-1, keepdims=True) + op.eps)
    out: Array = groups * scale
    if op.weight is not None:
        out = out * step.weights[op.weight]
    if op.bias is not None:
        out = out + step.weights[op.bias]
    return out.reshape(x.shape)

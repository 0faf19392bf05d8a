"""Matrix product and bias."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.linear import Linear


def run(step: Step, op: Linear) -> Array:
    out = step.values[op.x] @ step.weights[op.weight].T
    if op.scale is not None:
        out = out * step.weights[op.scale]
    return out if op.bias is None else out + step.weights[op.bias]

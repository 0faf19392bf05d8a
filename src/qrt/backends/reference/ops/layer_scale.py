"""Each channel times a learned factor (Touvron et al. 2021)."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.layer_scale import LayerScale


def run(step: Step, op: LayerScale) -> Array:
    out: Array = step.values[op.x] * step.weights[op.weight]
    return out if op.bias is None else out + step.weights[op.bias]

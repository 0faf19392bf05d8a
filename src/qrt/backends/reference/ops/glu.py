"""Gated activation (Shazeer 2020)."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.elementwise import ACTIVATIONS, sigmoid
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.glu import Glu


def run(step: Step, op: Glu) -> Array:
    gate = step.values[op.gate]
    if op.up is None:
        gate, up = np.split(gate, 2, axis=1)
    else:
        up = step.values[op.up]
    if op.act == "oai":
        gate = np.minimum(gate, 7.0)
        return gate * sigmoid(1.702 * gate) * (np.clip(up, -7.0, 7.0) + 1.0)
    return ACTIVATIONS[op.act](gate) * up

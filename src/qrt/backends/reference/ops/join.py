"""The heads of two values side by side."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.join import Join


def run(step: Step, op: Join) -> Array:
    a = step.values[op.a].reshape(len(step.values[op.a]), -1, op.a_width)
    b = step.values[op.b].reshape(len(a), -1, op.b_width)
    b = np.broadcast_to(b, (*a.shape[:2], op.b_width))
    return np.concatenate([a, b], axis=2).reshape(len(a), -1)

"""Learned vectors of the types of tokens."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.add_types import AddTypes


def run(step: Step, op: AddTypes) -> Array:
    out: Array = step.values[op.x] + step.weights[op.table][step.types]
    return out

"""Learned vectors of absolute positions."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.add_positions import AddPositions


def run(step: Step, op: AddPositions) -> Array:
    out: Array = step.values[op.x] + step.weights[op.table][step.positions]
    return out

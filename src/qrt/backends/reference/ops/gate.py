"""A value times the sigmoid of another."""

from __future__ import annotations

from qrt.backends.reference.ops.elementwise import sigmoid
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.gate import Gate


def run(step: Step, op: Gate) -> Array:
    return step.values[op.x] * sigmoid(step.values[op.gate])

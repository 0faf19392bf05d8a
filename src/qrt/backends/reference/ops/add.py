"""Sum."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.add import Add


def run(step: Step, op: Add) -> Array:
    return step.values[op.a] + step.values[op.b]

"""The rows of one expert."""

from __future__ import annotations

from toys.ops import Take

from qrt.backends.reference.step import Array, Step


def run(step: Step, op: Take) -> Array:
    taken: Array = step.values[op.x][step.values[op.route][:, op.expert] > 0]
    return taken

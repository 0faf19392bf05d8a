"""The rows of one expert, weighted and back in place."""

from __future__ import annotations

from toys.ops import Put

from qrt.backends.reference.step import Array, Step


def run(step: Step, op: Put) -> Array:
    out, weight = step.values[op.base].copy(), step.values[op.route][:, op.expert]
    out[weight > 0] += step.values[op.x] * weight[weight > 0, None]
    return out

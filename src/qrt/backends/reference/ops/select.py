"""Rows whose logits were asked for."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.select import Select


def run(step: Step, op: Select) -> Array:
    out: Array = step.values[op.x][step.logit_rows]
    return out

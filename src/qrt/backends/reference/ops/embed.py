"""Embed: rows of a table."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.embed import Embed


def run(step: Step, op: Embed) -> Array:
    table: Array = step.weights[op.table]
    return table[step.tokens] * op.scale

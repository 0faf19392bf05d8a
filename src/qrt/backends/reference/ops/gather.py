"""Rows sorted by the experts they go to."""

from __future__ import annotations

from qrt.backends.reference.ops.route import order_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.gather import Gather


def run(step: Step, op: Gather) -> Array:
    route = step.values[op.route]
    order = order_of(route, op.n_used)
    x: Array = step.values[op.x][order // op.n_used]
    return x * route[:, op.n_used :].ravel()[order, None] if op.weighted else x

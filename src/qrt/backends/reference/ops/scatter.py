"""What the experts made of a row, weighted and added up."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.route import order_of
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.scatter import Scatter


def run(step: Step, op: Scatter) -> Array:
    route, x = step.values[op.route], step.values[op.x]
    parts = np.empty_like(x)
    parts[order_of(route, op.n_used)] = x
    parts = parts.reshape(len(route), op.n_used, -1)  # (n_rows, n_used, width)
    out: Array = (parts * route[:, op.n_used :, None] if op.weighted else parts).sum(axis=1)
    return out

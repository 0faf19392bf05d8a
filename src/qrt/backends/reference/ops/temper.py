"""Queries scaled by how far their position lies behind the length of training."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.temper import Temper


def run(step: Step, op: Temper) -> Array:
    times = (step.positions + op.offset) // op.length
    return step.values[op.x] * (1.0 + op.scale * np.log1p(times.astype(np.float64)))[:, None]

"""The scan of Mamba (Gu and Dao 2023)."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.elementwise import silu
from qrt.backends.reference.step import Array, Step
from qrt.graph.op import Part
from qrt.graph.ops.selective_scan import SelectiveScan
from qrt.graph.ops.ssd import LANES


def run(step: Step, op: SelectiveScan) -> Array:
    x, dt, gate = (columns(step, part, op.dim) for part in (op.x, op.dt, op.gate))
    b, c = (columns(step, part, op.n_state) for part in (op.b, op.c))
    steps, a = np.logaddexp(0.0, dt), step.weights[op.a]
    out, padded = np.empty(x.shape), -(-op.dim // LANES) * LANES
    for rows, state in step.states("ssm", op.layer, (padded, op.n_state)):
        h = state[: op.dim]
        for t in rows:
            h *= np.exp(steps[t, :, None] * a)
            h += (steps[t] * x[t])[:, None] * b[t]
            out[t] = h @ c[t]
    y: Array = (out + step.weights[op.d] * x) * silu(gate)
    return y


def columns(step: Step, part: Part, n: int) -> Array:
    """The n columns that an op reads of a value."""
    return step.values[part.value][:, part.start : part.start + n]

"""The scan of Mamba-2 (Dao and Gu 2024)."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.elementwise import silu
from qrt.backends.reference.ops.selective_scan import columns
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.ssd import LANES, Ssd


def run(step: Step, op: Ssd) -> Array:
    n_columns = op.n_groups * op.n_state
    x = columns(step, op.x, op.dim).reshape(-1, op.n_heads, op.head_dim)
    b, c = (columns(step, part, n_columns) for part in (op.b, op.c))
    dt = columns(step, op.dt, op.n_heads)
    if op.dt_bias is not None:
        dt = dt + step.weights[op.dt_bias]
    steps = np.logaddexp(0.0, dt)  # (n_rows, n_heads)
    decay, out = np.exp(steps * step.weights[op.a]), np.empty(x.shape)
    each = op.n_heads // op.n_groups
    b, c = (v.reshape(-1, op.n_groups, op.n_state).repeat(each, axis=1) for v in (b, c))
    padded = -(-op.head_dim // LANES) * LANES
    for rows, state in step.states("ssm", op.layer, (op.n_heads, padded, op.n_state)):
        h = state[:, : op.head_dim]
        for t in rows:
            h *= decay[t, :, None, None]
            h += (steps[t, :, None] * x[t])[:, :, None] * b[t, :, None, :]
            out[t] = np.einsum("hpn,hn->hp", h, c[t])
    out += step.weights[op.d][:, None] * x
    y = out.reshape(len(out), op.dim)
    return y if op.gate is None else y * silu(columns(step, op.gate, op.dim))

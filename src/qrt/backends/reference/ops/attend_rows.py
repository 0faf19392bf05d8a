"""Each row attends to all rows of its segment."""

from __future__ import annotations

import numpy as np

from qrt.backends.base import not_finite
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.attend_rows import AttendRows


def run(step: Step, op: AttendRows) -> Array:
    n_groups = op.n_heads // op.n_kv_heads
    q = step.values[op.q].reshape(-1, op.n_kv_heads, n_groups, op.k_width)
    k = step.values[op.k].reshape(-1, op.n_kv_heads, op.k_width)
    v = step.values[op.v].reshape(-1, op.n_kv_heads, op.v_width)
    learned = None if op.rel_bias is None else step.weights[op.rel_bias]
    out = np.empty((*q.shape[:-1], op.v_width))  # (n_rows, n_kv_heads, n_groups, v_width)
    for rows in step.segments:
        score = np.einsum("rkgd,skd->kgrs", q[rows], k[rows]) * op.scale
        if op.softcap is not None:
            score = op.softcap * np.tanh(score / op.softcap)
        if not np.isfinite(score).all():
            raise not_finite(op.layer)
        row = np.arange(len(rows))
        bias = op.bias(len(rows), learned)[:, row - row[:, None] + len(rows)]
        score += np.broadcast_to(bias, (op.n_heads, *bias.shape[1:])).reshape(score.shape)
        weight = np.exp(score - score.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        out[rows] = np.einsum("kgrs,skd->rkgd", weight, v[rows])
    if not np.isfinite(out).all():
        raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.v_width)

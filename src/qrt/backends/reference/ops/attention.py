"""Each row attends to itself and what precedes."""

from __future__ import annotations

import numpy as np

from qrt.backends.base import not_finite
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.attention import Attention


def run(step: Step, op: Attention) -> Array:
    pages, n_groups = step.pages[op.layer], op.n_heads // op.n_kv_heads
    q = step.values[op.q].reshape(-1, op.n_kv_heads, n_groups, op.k_width)
    out = np.empty((*q.shape[:-1], op.v_width))  # (n_rows, n_kv_heads, n_groups, v_width)
    for row, (page, slot) in enumerate(step.places(op.layer)):
        seen = slice(0 if op.window is None else max(0, len(page) - op.window), None)
        k = pages.k[page[seen], slot[seen]].astype(np.float64)  # (n_seen, n_kv_heads, k_width)
        v = pages.v[page[seen], slot[seen]].astype(np.float64)
        score = np.einsum("kgd,skd->kgs", q[row], k) * op.scale
        if op.softcap is not None:
            score = op.softcap * np.tanh(score / op.softcap)
        weight = np.exp(score - score.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        out[row] = np.einsum("kgs,skd->kgd", weight, v)
        if not (np.isfinite(score).all() and np.isfinite(out[row]).all()):
            raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.v_width)

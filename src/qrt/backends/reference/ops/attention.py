"""Each row attends to itself and what precedes."""

from __future__ import annotations

import numpy as np

from qrt.backends.base import not_finite
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.attention import Attention, alibi_slopes


def run(step: Step, op: Attention) -> Array:
    pages, n_groups = step.pages[op.layer], op.n_heads // op.n_kv_heads
    q = step.values[op.q].reshape(-1, op.n_kv_heads, n_groups, op.k_width)
    out = np.empty((*q.shape[:-1], op.v_width))  # (n_rows, n_kv_heads, n_groups, v_width)
    by_head = (op.n_kv_heads, n_groups, 1)
    slopes = alibi_slopes(op.n_heads, op.max_bias).reshape(by_head)
    sinks = np.full(by_head, -np.inf)
    if op.sinks is not None:
        sinks = step.weights[op.sinks].reshape(by_head)
    for row, (page, slot) in enumerate(step.places(op.layer)):
        seen = slice(_first_seen(op, len(page) - 1), None)
        k = pages.k[page[seen], slot[seen]].astype(np.float64)  # (n_seen, n_kv_heads, k_width)
        v = pages.v[page[seen], slot[seen]].astype(np.float64)
        score = np.einsum("kgd,skd->kgs", q[row], k) * op.scale
        if op.softcap is not None:
            score = op.softcap * np.tanh(score / op.softcap)
        score = score - slopes * np.arange(len(k) - 1, -1, -1)
        most = score.max(axis=-1, keepdims=True)
        if op.sinks is not None:
            most = np.maximum(most, sinks)
        weight = np.exp(score - most)
        weight /= weight.sum(axis=-1, keepdims=True) + np.exp(sinks - most)
        out[row] = np.einsum("kgs,skd->kgd", weight, v)
        if not (np.isfinite(score).all() and np.isfinite(out[row]).all()):
            raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.v_width)


def _first_seen(op: Attention, position: int) -> int:
    """The first position that a row at `position` sees."""
    if op.window is None:
        return 0
    if op.chunked:
        return position // op.window * op.window
    return max(0, position - op.window + 1)

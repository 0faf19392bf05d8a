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
    places = zip(step.places(op.layer), step.encoded.tolist(), strict=True)
    for row, ((page, slot), n_encoded) in enumerate(places):
        seen = slice(*_seen(op, len(page) - 1, n_encoded))
        k = pages.k[page[seen], slot[seen]].astype(np.float64)  # (n_seen, n_kv_heads, k_width)
        v = pages.v[page[seen], slot[seen]].astype(np.float64)
        score = np.einsum("kgd,skd->kgs", q[row], k) * op.scale
        if op.softcap is not None:
            score = op.softcap * np.tanh(score / op.softcap)
        distance = np.arange(len(k) - 1, -1, -1)
        score = score - slopes * distance
        if op.rel_bias is not None:
            score += op.bias(distance, step.weights[op.rel_bias]).reshape(score.shape)
        most = score.max(axis=-1, keepdims=True)
        if op.sinks is not None:
            most = np.maximum(most, sinks)
        weight = np.exp(score - most)
        weight /= weight.sum(axis=-1, keepdims=True) + np.exp(sinks - most)
        out[row] = np.einsum("kgs,skd->kgd", weight, v)
        if not (np.isfinite(score).all() and np.isfinite(out[row]).all()):
            raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.v_width)


def _seen(op: Attention, position: int, n_encoded: int) -> tuple[int, int]:
    """The first position that a row at `position` sees, and the first that it does not."""
    if op.sees == "encoded":
        return 0, n_encoded
    if op.window is None:
        return n_encoded if op.sees == "decoded" else 0, position + 1
    if op.chunked:
        return position // op.window * op.window, position + 1
    return max(0, position - op.window + 1), position + 1

"""RWKV-7's state, row by row (Peng et al. 2025)."""

from __future__ import annotations

import numpy as np

from qrt.backends.base import not_finite
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.wkv7 import Wkv7


def run(step: Step, op: Wkv7) -> Array:
    heads = (step.values[name].reshape(-1, op.n_heads, op.head_dim) for name in op.reads)
    r, k, v, decay, removed, rate = heads
    length = np.sqrt((removed**2).sum(axis=2, keepdims=True))
    unit = removed / np.maximum(length, 1e-12)
    out = np.empty_like(r)
    for rows, state in step.states("wkv", op.layer, (op.n_heads, op.head_dim, op.head_dim)):
        for row in rows:
            stood = np.einsum("hkv,hk->hv", state, unit[row])
            state *= decay[row, :, :, None]
            state -= (rate[row] * unit[row])[:, :, None] * stood[:, None, :]
            state += k[row, :, :, None] * v[row, :, None, :]
            out[row] = np.einsum("hkv,hk->hv", state, r[row])
    if not np.isfinite(out).all():
        raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.head_dim)

"""RWKV-6's weighted sums of keys and values, row by row (Peng et al. 2024)."""

from __future__ import annotations

import numpy as np

from qrt.backends.base import not_finite
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.wkv6 import Wkv6


def run(step: Step, op: Wkv6) -> Array:
    def heads(name: str, n_heads: int) -> Array:
        x = step.values[name].reshape(-1, n_heads, op.head_dim)
        return np.repeat(x, op.n_heads // n_heads, axis=1)

    r, decay = (heads(name, op.n_heads) for name in (op.r, op.decay))
    k, v = (heads(name, op.n_kv_heads) for name in (op.k, op.v))
    if op.first is None:
        k, r = k * (1.0 - decay), r * op.head_dim**-0.5
    out = np.empty_like(r)
    for rows, state in step.states("wkv", op.layer, (op.n_heads, op.head_dim, op.head_dim)):
        for row in rows:
            gained = k[row, :, :, None] * v[row, :, None, :]  # (n_heads, keys, values)
            changed = decay[row, :, :, None] * state + gained
            if op.first is None:
                seen = changed
            else:
                seen = state + step.weights[op.first][:, :, None] * gained
            out[row] = np.einsum("hkv,hk->hv", seen, r[row])
            state[:] = changed
    if not np.isfinite(out).all():
        raise not_finite(op.layer)
    return out.reshape(len(out), op.n_heads * op.head_dim)

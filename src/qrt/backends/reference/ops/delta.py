"""The gated delta rule, row by row."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.ops.elementwise import sigmoid
from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.delta import Delta


def run(step: Step, op: Delta) -> Array:
    q, k, v = (step.values[part.value][:, part.start : part.start + n] for part, n in op.parts)
    q, k = (_of_heads(op, x) for x in (q, k))  # (n_rows, n_heads, k_dim)
    v = v.reshape(-1, op.n_heads, op.v_dim)
    beta = sigmoid(step.values[op.beta])  # (n_rows, n_heads)
    # (n_rows, n_heads, k_dim, or 1 for all its channels)
    slow = np.logaddexp(0.0, step.values[op.decay] + step.weights[op.bias])
    keep = np.exp(slow.reshape(*beta.shape, -1) * step.weights[op.rate][:, None])
    out = np.empty_like(v)
    for rows, state in step.states("delta", op.layer, (op.n_heads, op.k_dim, op.v_dim)):
        for row in rows:
            state *= keep[row, :, :, None]
            wrong = v[row] - np.einsum("hk,hkv->hv", k[row], state)
            state += np.einsum("hk,hv->hkv", k[row], wrong * beta[row, :, None])
            out[row] = np.einsum("hk,hkv->hv", q[row], state) / np.sqrt(op.k_dim)
    return out.reshape(len(out), -1)


def _of_heads(op: Delta, x: Array) -> Array:
    """Queries or keys of length 1 for every head of v."""
    x = x.reshape(-1, op.n_k_heads, op.k_dim)
    x = x / np.sqrt((x**2).sum(axis=-1, keepdims=True) + op.eps)
    repeats = op.n_heads // op.n_k_heads
    return np.repeat(x, repeats, axis=1) if op.grouped else np.tile(x, (1, repeats, 1))

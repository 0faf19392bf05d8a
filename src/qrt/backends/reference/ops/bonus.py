"""What RWKV-7 gives a row of its own value (Peng et al. 2025)."""

from __future__ import annotations

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.bonus import Bonus


def run(step: Step, op: Bonus) -> Array:
    x, r, k, v = (step.values[name] for name in (op.x, op.r, op.k, op.v))
    n_heads = x.shape[1] // op.head_dim
    heads = (r * k * step.weights[op.weight]).reshape(len(x), n_heads, op.head_dim)
    shares = heads.sum(axis=2, keepdims=True)
    out: Array = x + (v.reshape(heads.shape) * shares).reshape(x.shape)
    return out if op.gate is None else out * step.values[op.gate]

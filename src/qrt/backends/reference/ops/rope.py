"""Each pair of a head as a complex number, turned by the angle of its row's position."""

from __future__ import annotations

import numpy as np

from qrt.backends.reference.step import Array, Step
from qrt.graph.ops.rope import Rope


def run(step: Step, op: Rope) -> Array:
    spec, x = op.spec, step.values[op.x]
    n_heads = x.shape[1] // op.head_dim
    heads = x.reshape(len(x), n_heads, op.head_dim).copy()  # (n_rows, n_heads, head_dim)
    if spec.style == "norm":
        first, second = slice(0, spec.dim, 2), slice(1, spec.dim, 2)
    else:
        first, second = slice(0, spec.dim // 2), slice(spec.dim // 2, spec.dim)
    angle = step.positions[:, None, None] * np.array(spec.inv_freq)  # (n_rows, 1, dim / 2)
    turned = (heads[..., first] + 1j * heads[..., second]) * spec.mscale * np.exp(1j * angle)
    heads[..., first], heads[..., second] = turned.real, turned.imag
    return heads.reshape(x.shape)

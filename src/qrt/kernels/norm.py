"""RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016)."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import (
    fma,
    load_f32,
    load_f32x16,
    load_i64,
    store_f32,
    store_f32x16,
    sum_lanes,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import NORM
from qrt.kernels.rows import row_count

nothing = zeros(16)


@inline
def total(x, n, mean, power):
    """The sum of (x - mean)**power over n values, power 1 or 2, sixteen at a time."""
    lanes = nothing()
    for at in range(x, x + 4 * (n & -16), 64):
        v = load_f32x16(at) - mean
        lanes = fma(v, v, lanes) if power == 2 else lanes + v
    rest = sum_lanes(lanes)
    for at in range(x + 4 * (n & -16), x + 4 * n, 4):
        v = load_f32(at) - mean
        rest += v * v if power == 2 else v
    return rest


@inline
def scaled(x, n, mean, factor, weight, bias, out):
    """out = (x - mean) * factor * weight + bias; weight or bias may be 0, for none."""
    for at in range(0, 4 * (n & -16), 64):
        v = (load_f32x16(x + at) - mean) * factor
        if weight:
            v = v * load_f32x16(weight + at)
        if bias:
            v = v + load_f32x16(bias + at)
        store_f32x16(out + at, v)
    for at in range(4 * (n & -16), 4 * n, 4):
        v = (load_f32(x + at) - mean) * factor
        if weight:
            v *= load_f32(weight + at)
        if bias:
            v += load_f32(bias + at)
        store_f32(out + at, v)


def build() -> Any:
    def norm(step, args, thread, n_threads):
        n, group = load_i64(args + NORM.n_in), load_i64(args + NORM.group)
        weight, bias = load_i64(args + NORM.weight), load_i64(args + NORM.bias)
        own_weights = load_i64(args + NORM.own_weights)
        kind, eps = load_i64(args + NORM.kind), load_f32(args + NORM.eps)
        tile = load_i64(args + NORM.tile_rows)
        n_rows = row_count(step, args + NORM.rows_of)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + NORM.x) + 4 * row * n
            out = load_i64(args + NORM.out) + 4 * row * n
            for at in range(0, 4 * n, 4 * group):
                mean = total(x + at, group, 0.0, 1) / group if kind else 0.0
                square = total(x + at, group, mean, 2) / group
                factor = 1.0 / math.sqrt(square + eps)
                own = weight + at * own_weights
                scaled(x + at, group, mean, factor, own, bias, out + at)
            lines, floats = load_i64(args + NORM.lines), load_i64(args + NORM.floats)
            hand_over(out, n, row, tile, lines, floats)

    return norm

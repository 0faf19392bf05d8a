"""Weighted sums of values that lie side by side in a row."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    fma,
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    splat_f32,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import MIX
from qrt.kernels.rows import row_count

nothing = zeros(16)


@inline
def factor(fixed, weights, at):
    """What a run is multiplied with, in every lane; `weights` may be 0, for none."""
    value = load_f32(fixed + at)
    if weights:
        value += load_f32(weights + at)
    return splat_f32(value)


@inline
def mixed(x, n_in, width, fixed, weights, residual, out):
    """One sum of `n_in` runs of `width` values; `residual` may be 0, for none."""
    for at in range(0, 4 * (width & -16), 64):
        total = nothing()
        if residual:
            total = load_f32x16(residual + at)
        for i in range(n_in):
            total = fma(load_f32x16(x + 4 * i * width + at), factor(fixed, weights, 4 * i), total)
        store_f32x16(out + at, total)
    for at in range(4 * (width & -16), 4 * width, 4):
        total = nothing()
        if residual:
            total = splat_f32(load_f32(residual + at))
        for i in range(n_in):
            value = splat_f32(load_f32(x + 4 * i * width + at))
            total = fma(value, factor(fixed, weights, 4 * i), total)
        store_f32(out + at, lane(total, 0))


def build() -> Any:
    def mix(step, args, thread, n_threads):
        n_rows, width = row_count(step, args + MIX.rows_of), load_i64(args + MIX.width)
        n_in, n_out = load_i64(args + MIX.n_in), load_i64(args + MIX.n_out)
        fixed, weights = load_i64(args + MIX.fixed), load_i64(args + MIX.weights)
        residual, out = load_i64(args + MIX.residual), load_i64(args + MIX.out)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + MIX.x) + 4 * row * n_in * width
            for j in range(n_out):
                of_row = weights + 4 * (row * n_out + j) * n_in if weights else 0
                at = 4 * (row * n_out + j) * width
                more = residual + at if residual else 0
                mixed(x, n_in, width, fixed + 4 * j * n_in, of_row, more, out + at)

    return mix

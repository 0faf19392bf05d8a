"""From one row towards another, by factors of each channel."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
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
from qrt.kernels.layout import LERP
from qrt.kernels.rows import row_count

nothing = zeros(16)


@inline
def moved(x, other, weight, more, out, n):
    """out = x + (other - x) * (weight + more); weight or more may be 0, for none."""
    for at in range(0, 4 * (n & -16), 64):
        factor = nothing()
        if weight:
            factor = factor + load_f32x16(weight + at)
        if more:
            factor = factor + load_f32x16(more + at)
        start = load_f32x16(x + at)
        store_f32x16(out + at, fma(load_f32x16(other + at) - start, factor, start))
    for at in range(4 * (n & -16), 4 * n, 4):
        factor = nothing()
        if weight:
            factor = factor + load_f32(weight + at)
        if more:
            factor = factor + load_f32(more + at)
        start = splat_f32(load_f32(x + at))
        store_f32(out + at, lane(fma(load_f32(other + at) - start, factor, start), 0))


def build() -> Any:
    def lerp(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + LERP.rows_of), load_i64(args + LERP.n_in)
        weight, stride = load_i64(args + LERP.weight), 4 * load_i64(args + LERP.more_stride)
        lines, floats = load_i64(args + LERP.lines), load_i64(args + LERP.floats)
        tile = load_i64(args + LERP.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + LERP.x) + 4 * row * n
            other = load_i64(args + LERP.other) + 4 * row * n
            more = load_i64(args + LERP.more)
            if more:
                more += row * stride
            out = load_i64(args + LERP.out) + 4 * row * n
            moved(x, other, weight, more, out, n)
            hand_over(out, n, row, tile, lines, floats)

    return lerp

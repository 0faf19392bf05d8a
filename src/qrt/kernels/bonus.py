"""What RWKV-7 gives a row of its own value (Peng et al. 2025)."""

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
    sum_lanes,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import BONUS
from qrt.kernels.rows import row_count

nothing = zeros(16)


@inline
def share_of(r, k, weight, n):
    """The sum of r * k * weight over n values."""
    lanes = nothing()
    for at in range(0, 4 * (n & -16), 64):
        lanes = fma(load_f32x16(r + at) * load_f32x16(k + at), load_f32x16(weight + at), lanes)
    total = sum_lanes(lanes)
    for at in range(4 * (n & -16), 4 * n, 4):
        total += load_f32(r + at) * load_f32(k + at) * load_f32(weight + at)
    return total


@inline
def gain(x, v, share, gate, out, n):
    """out = (x + v * share) * gate; gate may be 0, for none."""
    for at in range(0, 4 * (n & -16), 64):
        y = fma(load_f32x16(v + at), share, load_f32x16(x + at))
        if gate:
            y = y * load_f32x16(gate + at)
        store_f32x16(out + at, y)
    for at in range(4 * (n & -16), 4 * n, 4):
        y = fma(splat_f32(load_f32(v + at)), share, splat_f32(load_f32(x + at)))
        if gate:
            y = y * load_f32(gate + at)
        store_f32(out + at, lane(y, 0))


def build() -> Any:
    def bonus(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + BONUS.rows_of), load_i64(args + BONUS.n_in)
        weight, size = load_i64(args + BONUS.weight), load_i64(args + BONUS.head_dim)
        lines, floats = load_i64(args + BONUS.lines), load_i64(args + BONUS.floats)
        tile = load_i64(args + BONUS.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x, v = load_i64(args + BONUS.x), load_i64(args + BONUS.v)
            r, k = load_i64(args + BONUS.r), load_i64(args + BONUS.k)
            gate, out = load_i64(args + BONUS.gate), load_i64(args + BONUS.out) + 4 * row * n
            for head in range(0, 4 * n, 4 * size):
                at = 4 * row * n + head
                share = share_of(r + at, k + at, weight + head, size)
                of_gate = gate + at if gate else 0
                gain(x + at, v + at, share, of_gate, out + head, size)
            hand_over(out, n, row, tile, lines, floats)

    return bonus

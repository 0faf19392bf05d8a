"""Gated activations (Shazeer 2020)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hands_over
from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    splat_f32,
    store_f32,
    store_f32x16,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import GLU
from qrt.kernels.mathematics import gelu, silu
from qrt.kernels.rows import row_count


@inline
def gated(gate, up, use_gelu):
    return (gelu(gate) if use_gelu else silu(gate)) * up


def build(lines_of: str = "int8") -> Any:
    hand_over = hands_over(lines_of)

    def glu(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + GLU.rows_of), load_i64(args + GLU.n_in)
        use_gelu = load_i64(args + GLU.gelu)
        lines, floats = load_i64(args + GLU.lines), load_i64(args + GLU.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            gate = load_i64(args + GLU.gate) + 4 * row * n
            up = load_i64(args + GLU.up) + 4 * row * n
            out = load_i64(args + GLU.out) + 4 * row * n
            for at in range(0, 4 * (n & -16), 64):
                store_f32x16(
                    out + at, gated(load_f32x16(gate + at), load_f32x16(up + at), use_gelu)
                )
            for at in range(4 * (n & -16), 4 * n, 4):
                g, u = splat_f32(load_f32(gate + at)), splat_f32(load_f32(up + at))
                store_f32(out + at, lane(gated(g, u, use_gelu), 0))
            hand_over(out, n, row, load_i64(args + GLU.tile_rows), lines, floats)

    return glu

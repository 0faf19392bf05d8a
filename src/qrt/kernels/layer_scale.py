"""Each channel times a learned factor (Touvron et al. 2021), plus a learned summand."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import LAYER_SCALE
from qrt.kernels.norm import scaled
from qrt.kernels.rows import row_count


def build() -> Any:
    def layer_scale(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + LAYER_SCALE.rows_of), load_i64(args + LAYER_SCALE.n_in)
        weight, tile = load_i64(args + LAYER_SCALE.weight), load_i64(args + LAYER_SCALE.tile_rows)
        bias = load_i64(args + LAYER_SCALE.bias)
        lines, floats = load_i64(args + LAYER_SCALE.lines), load_i64(args + LAYER_SCALE.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + LAYER_SCALE.x) + 4 * row * n
            out = load_i64(args + LAYER_SCALE.out) + 4 * row * n
            scaled(x, n, 0.0, 1.0, weight, bias, out)
            hand_over(out, n, row, tile, lines, floats)

    return layer_scale

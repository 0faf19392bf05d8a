"""The heads of two values side by side."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import JOIN
from qrt.kernels.rows import copy, row_count


def build() -> Any:
    def join(step, args, thread, n_threads):
        n_rows, n_heads = row_count(step, args + JOIN.rows_of), load_i64(args + JOIN.n_heads)
        a_width, b_width = load_i64(args + JOIN.a_width), load_i64(args + JOIN.b_width)
        b_stride, b_step = load_i64(args + JOIN.b_stride), load_i64(args + JOIN.b_step)
        lines, floats = load_i64(args + JOIN.lines), load_i64(args + JOIN.floats)
        tile, width = load_i64(args + JOIN.tile_rows), a_width + b_width
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            a = load_i64(args + JOIN.a) + 4 * row * n_heads * a_width
            b = load_i64(args + JOIN.b) + 4 * row * b_stride
            out = load_i64(args + JOIN.out) + 4 * row * n_heads * width
            for head in range(n_heads):
                at = out + 4 * head * width
                copy(a + 4 * head * a_width, at, a_width)
                copy(b + 4 * head * b_step, at + 4 * a_width, b_width)
            hand_over(out, n_heads * width, row, tile, lines, floats)

    return join

"""Float32 rows put into the forms that matmuls read."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import HAND_OVER
from qrt.kernels.rows import row_count


def build() -> Any:
    def hand_over_rows(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + HAND_OVER.rows_of), load_i64(args + HAND_OVER.n_in)
        lines, floats = load_i64(args + HAND_OVER.lines), load_i64(args + HAND_OVER.floats)
        tile = load_i64(args + HAND_OVER.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            hand_over(load_i64(args + HAND_OVER.x) + 4 * row * n, n, row, tile, lines, floats)

    return hand_over_rows

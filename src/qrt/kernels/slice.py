"""Some columns of each run of a row."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import SLICE
from qrt.kernels.rows import copy, row_count


def build() -> Any:
    def slice_of_runs(step, args, thread, n_threads):
        n_rows, n_runs = row_count(step, args + SLICE.rows_of), load_i64(args + SLICE.n_runs)
        group, n_taken = load_i64(args + SLICE.group), load_i64(args + SLICE.n_taken)
        lines, floats = load_i64(args + SLICE.lines), load_i64(args + SLICE.floats)
        tile = load_i64(args + SLICE.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + SLICE.x) + 4 * (row * n_runs * group + load_i64(args + SLICE.start))
            out = load_i64(args + SLICE.out) + 4 * row * n_runs * n_taken
            for run in range(n_runs):
                copy(x + 4 * run * group, out + 4 * run * n_taken, n_taken)
            hand_over(out, n_runs * n_taken, row, tile, lines, floats)

    return slice_of_runs

"""The largest values of a row, told by its mean and deviation; they may lie where all lay."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i64, splat_f32
from qrt.kernels.jit import inline
from qrt.kernels.layout import GAUSSIAN_TOPK
from qrt.kernels.mathematics import relu
from qrt.kernels.norm import total
from qrt.kernels.rows import along, place_of, row_count


@inline
def above(x, _, cutoff):
    """relu(x - cutoff)"""
    return relu(x - cutoff)


row_above = along(above)


def build() -> Any:
    def gaussian_topk(step, args, thread, n_threads):
        n_rows = row_count(step, args + GAUSSIAN_TOPK.rows_of)
        n = load_i64(args + GAUSSIAN_TOPK.n_in)
        n_deviations = load_f32(args + GAUSSIAN_TOPK.n_deviations)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = place_of(step, load_i64(args + GAUSSIAN_TOPK.x)) + 4 * row * n
            out = place_of(step, load_i64(args + GAUSSIAN_TOPK.out)) + 4 * row * n
            mean = total(x, n, 0.0, 1) / n
            cutoff = mean + n_deviations * math.sqrt(total(x, n, mean, 2) / n)
            row_above(x, x, out, n, splat_f32(cutoff))

    return gaussian_topk

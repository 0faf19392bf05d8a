"""Values brought to the magnitude of another."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i64
from qrt.kernels.layout import RESCALE
from qrt.kernels.norm import scaled, total
from qrt.kernels.rows import row_count


def build() -> Any:
    def rescale(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + RESCALE.rows_of), load_i64(args + RESCALE.n_in)
        n_runs, floor = load_i64(args + RESCALE.n_runs), load_f32(args + RESCALE.floor)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            want = total(load_i64(args + RESCALE.like) + 4 * row * n, n, 0.0, 2) / n
            x = load_i64(args + RESCALE.x) + 4 * row * n_runs * n
            out = load_i64(args + RESCALE.out) + 4 * row * n_runs * n
            for at in range(0, 4 * n_runs * n, 4 * n):
                have = max(total(x + at, n, 0.0, 2) / n, floor)
                scaled(x + at, n, 0.0, math.sqrt(want / have), 0, 0, out + at)

    return rescale

"""The sum of two values."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i64, store_f32
from qrt.kernels.layout import ADD
from qrt.kernels.rows import row_count


def build() -> Any:
    def add(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + ADD.rows_of), load_i64(args + ADD.n_in)
        a, b = load_i64(args + ADD.a), load_i64(args + ADD.b)
        out = load_i64(args + ADD.out)
        first = 4 * n * (n_rows * thread // n_threads)
        last = 4 * n * (n_rows * (thread + 1) // n_threads)
        for at in range(first, last, 4):
            store_f32(out + at, load_f32(a + at) + load_f32(b + at))

    return add

"""The choice of the rows whose logits were asked for."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i32, load_i64, store_f32
from qrt.kernels.layout import SELECT, STEP


def build() -> Any:
    def select(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_logits), load_i64(args + SELECT.n_in)
        rows = load_i64(step + STEP.logit_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + SELECT.x) + 4 * n * load_i32(rows + 4 * row)
            out = load_i64(args + SELECT.out) + 4 * n * row
            for at in range(0, 4 * n, 4):
                store_f32(out + at, load_f32(x + at))

    return select

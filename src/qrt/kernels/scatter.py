"""The routed rows of each row, weighted, added up and put back in its place."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    fma,
    load_f32,
    load_f32x16,
    load_i32,
    load_i64,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.layout import SCATTER, STEP

nothing = zeros(16)


def build() -> Any:
    def scatter(step, args, thread, n_threads):
        n_rows, n_used = load_i64(step + STEP.n_rows), load_i64(args + SCATTER.n_used)
        n, x = load_i64(args + SCATTER.n_in), load_i64(args + SCATTER.x)
        weighted, residuals = load_i64(args + SCATTER.weighted), load_i64(args + SCATTER.residual)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            places = load_i64(args + SCATTER.places) + 4 * n_used * row
            weights = load_i64(args + SCATTER.route) + 4 * n_used * (2 * row + 1)
            out, residual = load_i64(args + SCATTER.out) + 4 * n * row, residuals + 4 * n * row
            for at in range(0, 4 * (n & -16), 64):
                total = nothing()
                for choice in range(n_used):
                    v = load_f32x16(x + 4 * n * load_i32(places + 4 * choice) + at)
                    weight = load_f32(weights + 4 * choice) if weighted else 1.0
                    total = fma(v, weight, total)
                if residuals:
                    total = total + load_f32x16(residual + at)
                store_f32x16(out + at, total)
            for at in range(4 * (n & -16), 4 * n, 4):
                rest = 0.0
                for choice in range(n_used):
                    weight = load_f32(weights + 4 * choice) if weighted else 1.0
                    rest += weight * load_f32(x + 4 * n * load_i32(places + 4 * choice) + at)
                if residuals:
                    rest += load_f32(residual + at)
                store_f32(out + at, rest)

    return scatter

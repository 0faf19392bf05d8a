"""Rows scaled by how far their position lies behind the length of training."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i32, load_i64, splat_f32
from qrt.kernels.layout import STEP, TEMPER
from qrt.kernels.mathematics import vlog
from qrt.kernels.rows import place_of, scale_row


def build() -> Any:
    def temper(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n, scale = load_i64(args + TEMPER.n_in), load_f32(args + TEMPER.scale)
        length, offset = load_i64(args + TEMPER.length), load_i64(args + TEMPER.offset)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = place_of(step, load_i64(args + TEMPER.x)) + 4 * row * n
            out = place_of(step, load_i64(args + TEMPER.out)) + 4 * row * n
            times = (load_i32(positions + 4 * row) + offset) // length
            factor = 1.0 + vlog(splat_f32(1.0 + times)) * scale
            scale_row(x, x, out, n, factor)

    return temper

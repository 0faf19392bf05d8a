"""Learned vectors of absolute positions, added to the rows that stand there."""

from __future__ import annotations

from typing import Any

from qrt.kernels.embed import row_reader
from qrt.kernels.intrinsics import load_f32, load_i32, load_i64, store_f32
from qrt.kernels.layout import ADD_POSITIONS, SCRATCH, STEP


def build(qtype: str) -> Any:
    read = row_reader(qtype)

    def add_positions(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n, table = load_i64(args + ADD_POSITIONS.n_in), load_i64(args + ADD_POSITIONS.weights)
        packed = load_i64(args + ADD_POSITIONS.packed)
        panel = load_i64(step + STEP.scratch) + thread * SCRATCH
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + ADD_POSITIONS.x) + 4 * row * n
            out = load_i64(args + ADD_POSITIONS.out) + 4 * row * n
            read(out, table, load_i32(positions + 4 * row), packed, n, panel)
            for at in range(0, 4 * n, 4):
                store_f32(out + at, load_f32(x + at) + load_f32(out + at))

    return add_positions

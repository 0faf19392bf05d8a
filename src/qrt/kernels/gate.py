"""A value times the sigmoid of another, or of one number for the whole row."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_f32, load_i64, splat_f32
from qrt.kernels.jit import inline
from qrt.kernels.layout import GATE
from qrt.kernels.mathematics import sigmoid
from qrt.kernels.rows import along, row_count, scale_row


@inline
def gated(x, gate, _):
    """x * sigmoid(gate)"""
    return x * sigmoid(gate)


gate_row = along(gated)


def build() -> Any:
    def gate(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + GATE.rows_of), load_i64(args + GATE.n_in)
        width, tile = load_i64(args + GATE.gate_width), load_i64(args + GATE.tile_rows)
        lines, floats = load_i64(args + GATE.lines), load_i64(args + GATE.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + GATE.x) + 4 * row * n
            gate = load_i64(args + GATE.gate) + 4 * row * width
            out = load_i64(args + GATE.out) + 4 * row * n
            if width == n:
                gate_row(x, gate, out, n, 0)
            else:
                scale_row(x, x, out, n, sigmoid(splat_f32(load_f32(gate))))
            hand_over(out, n, row, tile, lines, floats)

    return gate

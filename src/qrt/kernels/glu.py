"""Gated activations (Shazeer 2020)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_i64, vmin
from qrt.kernels.jit import inline
from qrt.kernels.layout import GLU
from qrt.kernels.mathematics import ACTIVATIONS, clamp, sigmoid
from qrt.kernels.rows import along, row_count


@inline
def gated_oai(gate, up, _):
    """gpt-oss's: min(gate, 7) * sigmoid(1.702 * min(gate, 7)) * (clamp(up, -7, 7) + 1)"""
    gate = vmin(gate, 7.0) + gate * 0.0
    return gate * sigmoid(1.702 * gate) * (clamp(up, 7.0) + 1.0)


def _gated(act: str) -> Any:
    """gated(gate, up, 0)"""
    if act == "oai":
        return gated_oai
    activation = ACTIVATIONS[act]

    @inline
    def gated(gate, up, _):
        return activation(gate) * up

    return gated


def build(act: str) -> Any:
    walk = along(_gated(act))

    def glu(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + GLU.rows_of), load_i64(args + GLU.n_in)
        stride = 4 * load_i64(args + GLU.stride)
        lines, floats = load_i64(args + GLU.lines), load_i64(args + GLU.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            gate = load_i64(args + GLU.gate) + row * stride
            up = load_i64(args + GLU.up) + row * stride
            out = load_i64(args + GLU.out) + 4 * row * n
            walk(gate, up, out, n, 0)
            hand_over(out, n, row, load_i64(args + GLU.tile_rows), lines, floats)

    return glu

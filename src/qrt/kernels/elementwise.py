"""A function of each value alone; the result may lie where the values lay."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hands_over
from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    splat_f32,
    store_f32,
    store_f32x16,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import ELEMENTWISE
from qrt.kernels.mathematics import ACTIVATIONS, clamp, softcap
from qrt.kernels.rows import place_of, row_count


@inline
def scaled(x, factor):
    return x * factor


WITH_PARAMETER = {"scale": scaled, "softcap": softcap, "clamp": clamp}


def _applied(function: str) -> Any:
    """apply(x, parameter)"""
    if function in WITH_PARAMETER:
        return WITH_PARAMETER[function]
    activation = ACTIVATIONS[function]

    @inline
    def apply(x, parameter):
        return activation(x)

    return apply


def build(function: str, lines_of: str = "int8") -> Any:
    apply, hand_over = _applied(function), hands_over(lines_of)

    def elementwise(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + ELEMENTWISE.rows_of), load_i64(args + ELEMENTWISE.n_in)
        parameter = load_f32(args + ELEMENTWISE.parameter)
        lines, floats = load_i64(args + ELEMENTWISE.lines), load_i64(args + ELEMENTWISE.floats)
        tile = load_i64(args + ELEMENTWISE.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = place_of(step, load_i64(args + ELEMENTWISE.x)) + 4 * row * n
            out = place_of(step, load_i64(args + ELEMENTWISE.out)) + 4 * row * n
            for at in range(0, 4 * (n & -16), 64):
                store_f32x16(out + at, apply(load_f32x16(x + at), parameter))
            for at in range(4 * (n & -16), 4 * n, 4):
                store_f32(out + at, lane(apply(splat_f32(load_f32(x + at)), parameter), 0))
            hand_over(out, n, row, tile, lines, floats)

    return elementwise

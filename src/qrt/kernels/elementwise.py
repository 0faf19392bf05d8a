"""A function of each value alone; the result may lie where the values lay."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_f32, load_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import ELEMENTWISE
from qrt.kernels.mathematics import ACTIVATIONS, clamp, sigmoid_decay, softcap
from qrt.kernels.rows import along, place_of, row_count, times

WITH_PARAMETER = {"softcap": softcap, "clamp": clamp, "sigmoid_decay": sigmoid_decay}


def _applied(function: str) -> Any:
    """apply(x, x, parameter)"""
    if function in WITH_PARAMETER:
        limit = WITH_PARAMETER[function]

        @inline
        def limited(x, y, parameter):
            return limit(x, parameter)

        return limited
    if function == "scale":
        return times
    activation = ACTIVATIONS[function]

    @inline
    def alone(x, y, parameter):
        return activation(x)

    return alone


def build(function: str) -> Any:
    walk = along(_applied(function))

    def elementwise(step, args, thread, n_threads):
        n_rows, n = row_count(step, args + ELEMENTWISE.rows_of), load_i64(args + ELEMENTWISE.n_in)
        parameter = load_f32(args + ELEMENTWISE.parameter)
        lines, floats = load_i64(args + ELEMENTWISE.lines), load_i64(args + ELEMENTWISE.floats)
        tile = load_i64(args + ELEMENTWISE.tile_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = place_of(step, load_i64(args + ELEMENTWISE.x)) + 4 * row * n
            out = place_of(step, load_i64(args + ELEMENTWISE.out)) + 4 * row * n
            walk(x, x, out, n, parameter)
            hand_over(out, n, row, tile, lines, floats)

    return elementwise

"""Learned vectors of the types of tokens, added to their rows."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_i32, load_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import ADD_TYPES, STEP
from qrt.kernels.rows import along


@inline
def plus(x, y, _):
    """x + y"""
    return x + y


add_row = along(plus)


def build() -> Any:
    def add_types(step, args, thread, n_threads):
        n_rows, types = load_i64(step + STEP.n_rows), load_i64(step + STEP.types)
        n, table = load_i64(args + ADD_TYPES.n_in), load_i64(args + ADD_TYPES.weights)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + ADD_TYPES.x) + 4 * row * n
            out = load_i64(args + ADD_TYPES.out) + 4 * row * n
            add_row(x, table + 4 * n * load_i32(types + 4 * row), out, n, 0)

    return add_types

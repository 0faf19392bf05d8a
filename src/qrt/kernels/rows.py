"""The rows that an op runs on, where they lie, and where a row's state lies."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_f32x16,
    load_i32,
    load_i64,
    splat_f32,
    store_f32,
    store_f32x16,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import PAGE, STEP


@inline
def row_count(step, at):
    """How many rows the row set has whose place in the step is the word at `at`."""
    return load_i64(step + load_i64(at))


@inline
def place_of(step, address):
    """Where a value lies: one without a place of its own is the step's output."""
    return address if address else load_i64(step + STEP.output)


@inline
def copy(source, target, n):
    """n floats from `source` to `target`."""
    for at in range(0, 4 * (n & -16), 64):
        store_f32x16(target + at, load_f32x16(source + at))
    for at in range(4 * (n & -16), 4 * n, 4):
        store_f32(target + at, load_f32(source + at))


def along(function: Any) -> Any:
    """walk(x, y, out, n, parameters): function(x, y, parameters) of the n values of two rows, which
    works on vectors; out may be one of the rows.
    """

    @inline
    def walk(x, y, out, n, parameters):
        for at in range(0, 4 * (n & -16), 64):
            store_f32x16(out + at, function(load_f32x16(x + at), load_f32x16(y + at), parameters))
        for at in range(4 * (n & -16), 4 * n, 4):
            a, b = splat_f32(load_f32(x + at)), splat_f32(load_f32(y + at))
            store_f32(out + at, lane(function(a, b, parameters), 0))

    return walk


@inline
def times(x, y, factor):
    """x * factor"""
    return x * factor


scale_row = along(times)


@inline
def table_of(step, group, row):
    """The address of the table of a row's sequence in a state group."""
    return load_i64(load_i64(load_i64(step + STEP.tables) + 8 * group) + 8 * row)


@inline
def page_of(step, group, row, position, pages, page_stride):
    """The address of the page that holds a position of a row's sequence."""
    table = table_of(step, group, row)
    return pages + load_i32(table + 4 * (position // PAGE)) * page_stride

"""The rows that an op runs on, and where a row's state lies."""

from __future__ import annotations

from qrt.kernels.intrinsics import load_i32, load_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import PAGE, STEP


@inline
def row_count(step, at):
    """How many rows the row set has whose place in the step is the word at `at`."""
    return load_i64(step + load_i64(at))


@inline
def page_of(step, group, row, position, pages, page_stride):
    """The address of the page that holds a position of a row's sequence."""
    tables = load_i64(load_i64(step + STEP.tables) + 8 * group)
    table = load_i64(tables + 8 * row)
    return pages + load_i32(table + 4 * (position // PAGE)) * page_stride

"""The row before, of the same sequence; the last row of a segment is its state."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import SHIFT, STEP
from qrt.kernels.rows import copy, table_of
from qrt.kernels.states import clear, slot_read, slot_written


def build() -> Any:
    def shift(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_rows), load_i64(args + SHIFT.n_in)
        group, slots = load_i64(args + SHIFT.group), load_i64(args + SHIFT.slots)
        stride = load_i64(args + SHIFT.slot_stride)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + SHIFT.x) + 4 * row * n
            out = load_i64(args + SHIFT.out) + 4 * row * n
            table = table_of(step, group, row)
            if row > 0 and table_of(step, group, row - 1) == table:
                copy(x - 4 * n, out, n)
            else:
                before = slot_read(step, group, row, slots, stride)
                if before:
                    copy(before, out, n)
                else:
                    clear(out, n)
            if row + 1 == n_rows or table_of(step, group, row + 1) != table:
                copy(x, slot_written(step, group, row, slots, stride), n)

    return shift

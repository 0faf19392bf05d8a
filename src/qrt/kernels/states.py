"""Where a sequence's state of fixed size lies: the slot that a step reads, and the one it writes.

Rows of one sequence follow each other and share its table, so a segment ends where the table's
address changes. The records of such ops have `group`, `slots` and `slot_stride`.
"""

from __future__ import annotations

from qrt.kernels.intrinsics import load_i32, store_f32, store_f32x16, zeros
from qrt.kernels.jit import inline
from qrt.kernels.rows import table_of

nothing = zeros(16)


@inline
def segment_end(step, group, row, n_rows):
    """The row behind the last one of a row's segment."""
    table = table_of(step, group, row)
    end = row + 1
    while end < n_rows and table_of(step, group, end) == table:
        end += 1
    return end


@inline
def slot_read(step, group, row, slots, slot_stride):
    """The address of the state before the segment of a row; 0 for a fresh one."""
    slot = load_i32(table_of(step, group, row))
    return 0 if slot < 0 else slots + slot * slot_stride


@inline
def slot_written(step, group, row, slots, slot_stride):
    """The address of the state behind the segment of a row."""
    return slots + load_i32(table_of(step, group, row) + 4) * slot_stride


@inline
def clear(target, n):
    """n zeros at `target`."""
    for at in range(target, target + 4 * (n & -16), 64):
        store_f32x16(at, nothing())
    for at in range(target + 4 * (n & -16), target + 4 * n, 4):
        store_f32(at, 0.0)

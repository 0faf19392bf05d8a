"""States of heads that are matrices (keys, values), walked row by row; lanes are values.

A thread takes some columns of a head and all rows, segment by segment, in order: a row's result has
the same bits in any step. The records of such ops have n_heads, head_dim, layer and what `states`
wants. advance(args, row, head, n, column, source, target) is what an op does with one row: it reads
the columns of its lanes of the state at `source`, writes them to `target`, which may be the same,
and gives the sums that it stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_i64,
    load_wide,
    splat_f32,
    store,
    store_f32,
    store_i64,
    sum_lanes,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import STEP
from qrt.kernels.states import clear, segment_end, slot_read, slot_written

Lanes = tuple[Any, Any, Any]
"""load(address), store(address, value) and zeros() of so many lanes."""


@inline
def load_one(address):
    """A float in all lanes."""
    return splat_f32(load_f32(address))


@inline
def store_one(address, value):
    """The first lane."""
    store_f32(address, lane(value, 0))


@inline
def is_finite(y):
    """Whether no lane is an infinity or NaN."""
    return sum_lanes(y * 0.0) == 0.0


def lanes_of(n: int) -> Lanes:
    """How `n` columns are held, a multiple of 16, or 1."""
    return (load_one, store_one, zeros(16)) if n == 1 else (load_wide(n), store, zeros(n))


def over_states(record: Any, advance_by: Callable[[Lanes], Any]) -> Any:
    """The kernel of an op; `advance_by` makes its advance for so many lanes."""
    most = 64 if register_lanes() == 16 else 32
    advance_most = advance_by(lanes_of(most))
    advance_16, advance_1 = advance_by(lanes_of(16)), advance_by(lanes_of(1))

    def wkv(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_rows), load_i64(args + record.head_dim)
        n_heads, group = load_i64(args + record.n_heads), load_i64(args + record.group)
        slots, stride = load_i64(args + record.slots), load_i64(args + record.slot_stride)
        parts, sound = (n + most - 1) // most, True
        n_units = n_heads * parts
        for unit in range(n_units * thread // n_threads, n_units * (thread + 1) // n_threads):
            head, column = unit // parts, unit % parts * most
            end, row = min(column + most, n), 0
            while row < n_rows:
                behind = segment_end(step, group, row, n_rows)
                source = slot_read(step, group, row, slots, stride)
                target = slot_written(step, group, row, slots, stride) + 4 * head * n * n
                if source:
                    source += 4 * head * n * n
                else:
                    source = target
                    for i in range(n):
                        clear(target + 4 * (i * n + column), end - column)
                while row < behind:
                    c = column
                    if end - column == most:
                        y = advance_most(args, row, head, n, c, source, target)
                        sound = sound and is_finite(y)
                        c = end
                    while c + 16 <= end:
                        y16 = advance_16(args, row, head, n, c, source, target)
                        sound = sound and is_finite(y16)
                        c += 16
                    while c < end:
                        y1 = advance_1(args, row, head, n, c, source, target)
                        sound = sound and is_finite(y1)
                        c += 1
                    source = target
                    row += 1
        if not sound and load_i64(step + STEP.fault) == 0:
            store_i64(step + STEP.fault, load_i64(args + record.layer) + 1)

    return wkv

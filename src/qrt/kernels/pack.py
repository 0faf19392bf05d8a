"""Packing: the blocks of 16 rows of a tensor into a panel, field by field."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    load_i32,
    load_i32x16,
    load_i64,
    load_rows,
    load_u8,
    store,
    store_i32,
    store_u8,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import PACK, PACK_FIELD
from qrt.kernels.panels import CHANGES, ORDERS
from qrt.kernels.shuffles import interleave, move_bits

FLIP, SORT, QUARTERS, SIGNS, SHORT_SIGNS, POINTS = (
    CHANGES.index(change)
    for change in ("flip", "sort", "quarters", "signs", "short signs", "points")
)
sort, quarters = move_bits(ORDERS["sort"]), move_bits(ORDERS["quarters"])
signs, short_signs = move_bits(ORDERS["signs"]), move_bits(ORDERS["short signs"])
points, signs_of_points = move_bits(ORDERS["points"], 0), move_bits(ORDERS["points"], 1)


@inline
def put(source, target, unit, there):
    """One unit of one row to its place in a panel; zeros where the row is not `there`."""
    if unit < 4:
        for i in range(unit):
            store_u8(target + i, load_u8(source + i) if there else 0)
    else:
        for i in range(0, unit, 4):
            store_i32(target + 16 * i, load_i32(source + i) if there else 0)


@inline
def move(source, row_bytes, n_rows, target, unit):
    """One unit of 16 rows; rows past n_rows become zeros."""
    for row in range(16):
        put(source + row * row_bytes, target + row * min(unit, 4), unit, row < n_rows)


load_words, load_halves = load_rows("i32"), load_rows("i16")


@inline
def transposed(values):
    """16 rows to columns: four perfect shuffles."""
    return interleave(interleave(interleave(interleave(values))))


@inline
def move_many(source, row_bytes, target, unit):
    """16 bytes of 16 full rows at once."""
    if unit == 2:
        store(target, transposed(load_halves(source, row_bytes)))
    else:
        store(target, transposed(load_words(source, row_bytes)))


@inline
def changed(words, change):
    """Words as one of CHANGES says."""
    if change == FLIP:
        return words ^ 0x80808080
    if change == SORT:
        return sort(words)
    if change == QUARTERS:
        return quarters(words)
    if change == SIGNS:
        return signs(words)
    return short_signs(words)


@inline
def change_bits(at, unit, change):
    """Changes a unit of 16 rows where it is packed."""
    if unit == 4:
        store(at, changed(load_i32x16(at), change))
    elif change == POINTS:
        first, second = load_i32x16(at), load_i32x16(at + 64)
        store(at, points(first, second))
        store(at + 64, signs_of_points(first, second))
    else:
        store(at + 64, short_signs(load_i32x16(at + 64)))


def build() -> Any:
    def pack(step, args, thread, n_threads):
        n_rows, row_bytes = load_i64(args + PACK.n_rows), load_i64(args + PACK.row_bytes)
        n_blocks, block_bytes = load_i64(args + PACK.n_blocks), load_i64(args + PACK.block_bytes)
        fields, n_fields = load_i64(args + PACK.fields), load_i64(args + PACK.n_fields)
        n_panels = (n_rows + 15) >> 4
        for panel in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
            source = load_i64(args + PACK.source) + 16 * panel * row_bytes
            target = load_i64(args + PACK.target) + 16 * panel * row_bytes
            rows = n_rows - 16 * panel
            for _ in range(n_blocks):
                for i in range(n_fields):
                    field = fields + i * PACK_FIELD.size
                    unit = load_i64(field + PACK_FIELD.unit)
                    at = source + load_i64(field + PACK_FIELD.offset)
                    change = load_i64(field + PACK_FIELD.change)
                    count = load_i64(field + PACK_FIELD.count)
                    end, done = target + 16 * unit * count, target
                    if unit > 1 and rows >= 16:
                        at_once = 16 // unit
                        for _many in range(count // at_once):
                            move_many(at, row_bytes, target, unit)
                            at += 16
                            target += 256
                    while target < end:
                        move(at, row_bytes, rows, target, unit)
                        at += unit
                        target += 16 * unit
                    if change:
                        for packed in range(done, end, 16 * unit):
                            change_bits(packed, unit, change)
                source += block_bytes

    return pack

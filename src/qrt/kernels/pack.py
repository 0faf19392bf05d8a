"""Packing: the blocks of 16 rows of a tensor into a panel, field by field.

What changes words takes one as an int64, or the words of several rows as a vector.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    load_i32,
    load_i64,
    load_rows,
    load_u8,
    store,
    store_i32,
    store_u8,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import PACK, PACK_FIELD
from qrt.kernels.panels import CHANGES
from qrt.kernels.shuffles import concat, interleave, lower_half, upper_half

FLIP, SORT, QUARTERS, SIGNS, SHORT_SIGNS, POINTS = (
    CHANGES.index(change)
    for change in ("flip", "sort", "quarters", "signs", "short signs", "points")
)


@inline
def apart(four):
    """Bit 8 b from bit b of a number below 16."""
    return (four * 0x00204081) & 0x01010101


@inline
def sorted_bits(word):
    """Bit 8 b + g from bit 4 g + b."""
    result = word ^ word
    for g in range(8):
        result = result | apart((word >> (4 * g)) & 15) << g
    return result


@inline
def sorted_quarters(word):
    """Bits 8 b + 2 g from bits 8 g + 2 b, two each: a square of 4 x 4 turned over its diagonal."""
    moved = (word ^ (word >> 6)) & 0x00CC00CC
    word = word ^ moved ^ (moved << 6)
    moved = (word ^ (word >> 12)) & 0x0000F0F0
    return word ^ moved ^ (moved << 12)


@inline
def sorted_signs(word):
    """Bit 8 b + g / 2 from bit 4 g + b for even g, bit 8 b + 4 + g / 2 for odd g."""
    result = word ^ word
    for i in range(4):
        result = result | apart((word >> (8 * i)) & 15) << i
        result = result | apart((word >> (8 * i + 4)) & 15) << (4 + i)
    return result


@inline
def sorted_short_signs(word):
    """The same of four times 7 bits; the four bits above stay, where the eighths would be."""
    result = word & 0xF0000000
    for i in range(4):
        result = result | apart((word >> (7 * i)) & 15) << i
        result = result | apart((word >> (7 * i + 4)) & 7) << (4 + i)
    return result


@inline
def changed(word, change):
    """32 bits as one of CHANGES says."""
    if change == FLIP:
        return word ^ 0x80808080
    if change == SORT:
        return sorted_bits(word)
    if change == QUARTERS:
        return sorted_quarters(word)
    if change == SIGNS:
        return sorted_signs(word)
    if change == SHORT_SIGNS:
        return sorted_short_signs(word)
    return word


@inline
def changed_pair(first, second, change):
    """64 bits: four points, a byte each, and their signs under four bits that stay.

    The file has that but for the order of signs, or four times 9 bits of point and 7 of signs.
    """
    if change == POINTS:
        points = (first & 0xFF) | ((first >> 8) & 0xFF00)
        points = points | ((second & 0xFF) << 16) | ((second << 8) & 0xFF000000)
        signs = ((first >> 9) & 0x7F) | ((first >> 18) & 0x3F80)
        signs = signs | ((second << 5) & 0x1FC000) | ((second >> 4) & 0xFE00000)
        tops = ((first << 20) & 0x10000000) | ((first << 5) & 0x20000000)
        tops = tops | ((second << 22) & 0x40000000) | ((second << 7) & 0x80000000)
        first, second = points, signs | tops
    return first, sorted_short_signs(second)


@inline
def put(source, target, unit, change, there):
    """One unit of one row to its place in a panel; zeros where the row is not `there`."""
    if unit == 8:
        first = load_i32(source) & 0xFFFFFFFF if there else 0
        second = load_i32(source + 4) & 0xFFFFFFFF if there else 0
        first, second = changed_pair(first, second, change)
        store_i32(target, first)
        store_i32(target + 64, second)
    elif unit == 4:
        store_i32(target, changed(load_i32(source) & 0xFFFFFFFF if there else 0, change))
    else:
        for i in range(unit):
            store_u8(target + i, load_u8(source + i) if there else 0)


@inline
def move(source, row_bytes, n_rows, target, unit, change):
    """One unit of 16 rows; rows past n_rows become zeros."""
    for row in range(16):
        put(source + row * row_bytes, target + row * min(unit, 4), unit, change, row < n_rows)


load_words, load_halves = load_rows("i32"), load_rows("i16")


@inline
def transposed(values):
    """16 rows to columns: four perfect shuffles."""
    return interleave(interleave(interleave(interleave(values))))


@inline
def changed_pairs(columns, change):
    """Columns of 16 words, of which two and two are pairs."""
    first, second = changed_pair(lower_half(columns), upper_half(columns), change)
    return concat(first, second)


@inline
def move_many(source, row_bytes, target, unit, change):
    """16 bytes of 16 full rows at once."""
    if unit == 2:
        store(target, transposed(load_halves(source, row_bytes)))
    elif unit == 4:
        store(target, transposed(changed(load_words(source, row_bytes), change)))
    else:
        columns = transposed(load_words(source, row_bytes))
        store(target, changed_pairs(lower_half(columns), change))
        store(target + 128, changed_pairs(upper_half(columns), change))


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
                    if unit > 1 and rows >= 16:
                        at_once = 16 // unit
                        for _many in range(count // at_once):
                            move_many(at, row_bytes, target, unit, change)
                            at += 16
                            target += 256
                        count %= at_once
                    for _unit in range(count):
                        move(at, row_bytes, rows, target, unit, change)
                        at += unit
                        target += 16 * unit
                source += block_bytes

    return pack

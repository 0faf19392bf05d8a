"""Packing: the blocks of 16 rows of a tensor into a panel, field by field."""

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
from qrt.kernels.shuffles import interleave


@inline
def sorted_bits(word):
    """Bit 8 b + g from bit 4 g + b."""
    result = 0
    for g in range(8):
        four = (word >> (4 * g)) & 15
        result |= ((four * 0x00204081) & 0x01010101) << g
    return result


@inline
def changed(word, change):
    """32 bits as PACK_FIELD's `change` says."""
    if change == 1:
        return (word ^ 0x80808080) & 0xFFFFFFFF
    return sorted_bits(word & 0xFFFFFFFF) if change == 2 else word


@inline
def move(source, row_bytes, n_rows, target, unit, change):
    """One unit of 16 rows; rows past n_rows become zeros."""
    for row in range(16):
        at = source + row * row_bytes
        if unit == 2:
            store_u8(target, load_u8(at) if row < n_rows else 0)
            store_u8(target + 1, load_u8(at + 1) if row < n_rows else 0)
            target += 2
        else:
            word = load_i32(at) if row < n_rows else 0
            store_i32(target, changed(word, change))
            target += 4
    return target


load_words, load_halves = load_rows("i32"), load_rows("i16")


@inline
def transposed(values):
    """16 rows to columns: four perfect shuffles."""
    return interleave(interleave(interleave(interleave(values))))


@inline
def move_many(source, row_bytes, target, unit, change):
    """16 bytes of 16 full rows at once."""
    if unit == 2:
        store(target, transposed(load_halves(source, row_bytes)))
    else:
        words = load_words(source, row_bytes)
        store(target, transposed(words ^ 0x80808080 if change == 1 else words))


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
                    if change < 2 and rows >= 16:
                        at_once = 16 // unit
                        for _many in range(count // at_once):
                            move_many(at, row_bytes, target, unit, change)
                            at += 16
                            target += 256
                        count %= at_once
                    for _unit in range(count):
                        target = move(at, row_bytes, rows, target, unit, change)
                        at += unit
                source += block_bytes

    return pack

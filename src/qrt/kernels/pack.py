"""Packing: the blocks of 16 rows of a tensor into a panel, field by field."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_i32, load_i64, load_u8, store_i32, store_u8
from qrt.kernels.jit import inline
from qrt.kernels.layout import PACK, PACK_FIELD


@inline
def spread(word):
    """Bit 8 b + g from bit 4 g + b."""
    result = 0
    for g in range(8):
        four = (word >> (4 * g)) & 15
        result |= ((four * 0x00204081) & 0x01010101) << g
    return result


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
            if change == 1:
                word ^= 0x80808080
            elif change == 2:
                word = spread(word & 0xFFFFFFFF)
            store_i32(target, word)
            target += 4
    return target


def build() -> Any:
    def pack(step, args, thread, n_threads):
        n_rows, row_bytes = load_i64(args + PACK.n_rows), load_i64(args + PACK.row_bytes)
        n_blocks, block_bytes = load_i64(args + PACK.n_blocks), load_i64(args + PACK.block_bytes)
        fields, n_fields = load_i64(args + PACK.fields), load_i64(args + PACK.n_fields)
        n_panels = (n_rows + 15) >> 4
        for panel in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
            source = load_i64(args + PACK.source) + 16 * panel * row_bytes
            target = load_i64(args + PACK.target) + 16 * panel * row_bytes
            for _ in range(n_blocks):
                for i in range(n_fields):
                    field = fields + i * PACK_FIELD.size
                    unit = load_i64(field + PACK_FIELD.unit)
                    at = source + load_i64(field + PACK_FIELD.offset)
                    for _unit in range(load_i64(field + PACK_FIELD.count)):
                        target = move(
                            at,
                            row_bytes,
                            n_rows - 16 * panel,
                            target,
                            unit,
                            load_i64(field + PACK_FIELD.change),
                        )
                        at += unit
                source += block_bytes

    return pack

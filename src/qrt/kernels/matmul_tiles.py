"""Products of many quantized rows on tile registers, with the bits of `matmul`.

Registers sum up what is whole: 16 rows times 16 outputs of 32 k, or of 16 k where each half has a
scale of its own. The sums go to memory in the first-level cache, then through their scales to the
accumulators, in the order of `matmul`.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.addresses import prefetch
from qrt.kernels.intrinsics import load_f32x16, load_i64, load_wide, store, zeros
from qrt.kernels.jit import inline
from qrt.kernels.layout import LINE, MATMUL, ROW_TILE, SCRATCH, TILE_ROWS
from qrt.kernels.matmul import finish, summed_for
from qrt.kernels.panels import PanelFormat
from qrt.kernels.tile_instructions import TILE_BYTES
from qrt.kernels.tiles import (
    REGISTERS,
    SUMS_BYTES,
    begin_tiles,
    end_tiles,
    last_products,
    next_products,
)
from qrt.kernels.unpacked import K_AT_ONCE, Parts, numbers, signed, unpack_of

PAIR, ROWS = 2, 2 * TILE_ROWS
"""Panels and rows that registers hold the sums of at once."""

PANELS = 8
"""Panels that meet the same k of all rows, which a second-level cache holds meanwhile."""


def tile_products(fmt: PanelFormat, rows_at_once: int) -> Any:
    """products of quantized rows in tiles of TILE_ROWS, with up to PANELS panels, as in
    `matmul_prefill.many_rows`; accumulators of at most `rows_at_once` rows wait. ROW_TILE of
    them fit vector registers with all that is added.
    """
    parts, scales, k_each = Parts(fmt, PAIR), fmt.scales, 32 // fmt.scales
    unpack = unpack_of(parts, signed(fmt))
    begin, strides = begin_tiles(k_each), (LINE, parts.vector)
    multiply_one, store_one = next_products(1, k_each, *strides), last_products(1)
    multiply_two, store_two = next_products(2, k_each, *strides), last_products(2)
    summed, lanes = summed_for(fmt, ROW_TILE), 16 * ROW_TILE
    load_sums, load_whole, nothing = load_wide(lanes), load_wide(lanes, "i32"), zeros(lanes)
    scales_at, mins_at = numbers(scales, 16, parts.vector), numbers(fmt.mins, 16, parts.vector)
    first_scale, first_min, part = parts.first_scale, parts.first_min, parts.size
    half, x_block, last = first_scale // 2, TILE_ROWS * LINE, (scales - 1) * SUMS_BYTES
    block_bytes, block_size = fmt.panel_bytes, fmt.block_size
    pair_bytes = 64 * PAIR * rows_at_once
    whole = REGISTERS + PANELS // PAIR * pair_bytes
    unpacked = whole + scales * SUMS_BYTES
    assert unpacked + K_AT_ONCE // 32 * part <= SCRATCH

    @inline
    def one_at(p):
        return (load_whole(p),)

    @inline
    def two_at(p):
        return load_whole(p), load_whole(p + SUMS_BYTES)

    dots_at = one_at if scales == 1 else two_at

    @inline
    def multiply(kept, x, apart, w, sums):
        """The next products; a whole tile `apart`, or 0 for none."""
        if apart:
            multiply_two(kept, x, x + apart, w, w + 64, sums)
        else:
            multiply_one(kept, x, x, w, w + 64, sums)

    @inline
    def add_up(acc, sums, w, x, apart, n_rows, n_here, fresh):
        """Adds the whole sums of a block to the accumulators of rows and panels."""
        for row in range(0, n_rows, ROW_TILE):
            tile, member = row // TILE_ROWS, row % TILE_ROWS
            y = x + tile * apart + member * LINE
            for i in range(n_here):
                at = (PAIR * tile + i) * TILE_BYTES + 64 * member
                before = nothing() if fresh else load_sums(acc + at)
                v = w + 64 * i
                factors, offsets = scales_at(v + first_scale), mins_at(v + first_min)
                store(acc + at, summed(before, dots_at(sums + at), factors, offsets, y))

    @inline
    def meet(kept, acc, x, apart, n_blocks, n_rows, n_here, fresh):
        """Unpacked blocks times up to two tiles of rows; registers work a block ahead."""
        w, sums = kept + unpacked, kept + whole
        multiply(kept, x, apart, w, sums + last)
        for block in range(n_blocks):
            if scales == 2:
                multiply(kept, x + 16, apart, w + half, sums)
            if block + 1 < n_blocks:
                multiply(kept, x + x_block, apart, w + part, sums + last)
            elif apart:
                store_two(kept, sums + last)
            else:
                store_one(kept, sums + last)
            add_up(acc, sums, w, x, apart, n_rows, n_here, fresh and block == 0)
            x += x_block
            w += part

    @inline
    def ask_for(args, out, first, n_rows, panel, n_here):
        """The lines of outputs, which would be waited for one by one."""
        stride = 4 * load_i64(args + MATMUL.stride)
        at = out + first * stride + 64 * panel
        for _ in range(n_rows):
            for i in range(n_here):
                prefetch(at, 64 * i)
            at += stride

    @inline
    def finish_rows(acc, n_rows, n_here, scale, bias, args, out, row, panel):
        for r in range(n_rows):
            at = acc + r // TILE_ROWS * PAIR * TILE_BYTES + r % TILE_ROWS * 64
            for i in range(n_here):
                value = load_f32x16(at + i * TILE_BYTES)
                finish(value, scale, bias, args, out, row + r, panel + i)

    @inline
    def products(
        kept, p, panel_bytes, n_here, x, n_x, n_in, n_rows, scale, bias, args, out, first, panel
    ):
        begin(kept)
        for k in range(0, n_in, K_AT_ONCE):
            n_k = min(K_AT_ONCE, n_in - k)
            for pair in range(0, n_here, PAIR):
                n = min(PAIR, n_here - pair)
                for i in range(n):
                    block = p + (pair + i) * panel_bytes + k // block_size * block_bytes
                    unpack(kept + unpacked + 64 * i, block, n_k // block_size)
                for row in range(0, n_rows, ROWS):
                    rows, acc = min(ROWS, n_rows - row), kept + REGISTERS + 64 * PAIR * row
                    acc += pair // PAIR * pair_bytes
                    lines = x + (row * n_x + k * TILE_ROWS) * (LINE // 32)
                    apart = TILE_ROWS * n_x * (LINE // 32) if rows > TILE_ROWS else 0
                    if k + n_k == n_in:
                        ask_for(args, out, first + row, rows, panel + pair, n)
                    meet(kept, acc, lines, apart, n_k >> 5, rows, n, k == 0)
                    if k + n_k == n_in:
                        finish_rows(acc, rows, n, scale, bias, args, out, first + row, panel + pair)
        end_tiles()

    return products

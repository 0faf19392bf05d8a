"""Embedding lookup: for each token one row of a packed panel, or of the file as it stands."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks import visit_of
from qrt.kernels.blocks.parts import fetch_nothing
from qrt.kernels.intrinsics import (
    lane,
    load_bf16x16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_i32,
    load_i64,
    store_f32,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import EMBED, SCRATCH, STEP
from qrt.kernels.pack import change_bits, put
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat


def _quantized_row(fmt: PanelFormat) -> Any:
    """Writes lane `row` of a packed block to the address in `out`."""
    zero, two, n_mins = fmt.zero, fmt.scales == 2, fmt.mins

    @inline
    def minimum(mins, k, row):
        if n_mins == 2:
            return lane(mins[k >> 4], row)
        if n_mins == 1:
            return lane(mins[0], row)
        return 0.0

    @inline
    def write(out, codes, scales, mins, row):
        for k in range(32):
            word = lane(codes, 16 * (k >> 2) + row)
            code = ((word >> (8 * (k & 3))) & 0xFF) - zero
            scale = lane(scales[k >> 4], row) if two else lane(scales[0], row)
            store_f32(out, scale * code - minimum(mins, k, row))
            out += 4
        return out

    visit = visit_of(fmt.qtype)(write, fetch_nothing)

    @inline
    def block(out, p, row):
        return visit(out, p, row, 0)

    return block


def _float_row(fmt: PanelFormat) -> Any:
    """The same for plain numbers."""
    load = {"F32": load_f32x16, "F16": load_f16x16, "BF16": load_bf16x16}[fmt.qtype]

    @inline
    def block(out, p, row):
        store_f32(out, lane(load(p), row))
        return out + 4

    return block


def _copy_to_lane_0(fmt: PanelFormat) -> Any:
    """Moves one block from where the file has it to row 0 of a packed block."""
    table = fmt.table(1)
    fields = tuple(zip(table[::4], table[1::4], table[2::4], table[3::4], strict=True))

    @inline
    def keep_bits(at, unit, change):
        return

    change_there = change_bits if any(table[3::4]) else keep_bits

    @inline
    def copy(block, panel):
        for offset, count, unit, change in fields:
            for at in range(block + offset, block + offset + count * unit, unit):
                put(at, panel, unit, True)
                if change:
                    change_there(panel, unit, change)
                panel += 16 * unit

    return copy


def row_reader(qtype: str) -> Any:
    """read(out, table, number, packed, n_in, panel): row `number` of a table as floats at `out`;
    the end of these. `panel` is room for a packed block.
    """
    fmt = PANEL_FORMATS[qtype]
    block = _quantized_row(fmt) if fmt.quantized else _float_row(fmt)
    copy = _copy_to_lane_0(fmt)
    block_bytes, panel_bytes, values = fmt.block_bytes, fmt.panel_bytes, fmt.block_size

    @inline
    def read(out, table, number, packed, n_in, panel):
        n_blocks = n_in // values
        row = number & 15 if packed else 0
        size = panel_bytes if packed else block_bytes
        p = table + (number >> 4 if packed else number) * n_blocks * size
        for _ in range(n_blocks):
            if not packed:
                copy(p, panel)
            out = block(out, p if packed else panel, row)
            p += size
        return out

    return read


def build(qtype: str) -> Any:
    read = row_reader(qtype)

    def embed(step, args, thread, n_threads):
        n_rows, tokens = load_i64(step + STEP.n_rows), load_i64(step + STEP.tokens)
        n_in, weights = load_i64(args + EMBED.n_in), load_i64(args + EMBED.weights)
        scale, packed = load_f32(args + EMBED.scale), load_i64(args + EMBED.packed)
        panel = load_i64(step + STEP.scratch) + thread * SCRATCH
        for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            start = load_i64(args + EMBED.out) + 4 * i * n_in
            end = read(start, weights, load_i32(tokens + 4 * i), packed, n_in, panel)
            if scale != 1.0:
                for at in range(start, end, 4):
                    store_f32(at, load_f32(at) * scale)

    return embed

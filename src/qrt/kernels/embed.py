"""Embedding lookup: one row of a packed panel for each token."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks import VISITS
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
from qrt.kernels.layout import EMBED, STEP
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

    visit = VISITS[fmt.qtype](write, fetch_nothing)

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


def build(qtype: str) -> Any:
    fmt = PANEL_FORMATS[qtype]
    block = _quantized_row(fmt) if fmt.quantized else _float_row(fmt)
    size, values = 16 * fmt.block_bytes, fmt.block_size

    def embed(step, args, thread, n_threads):
        n_rows, tokens = load_i64(step + STEP.n_rows), load_i64(step + STEP.tokens)
        n_in, weights = load_i64(args + EMBED.n_in), load_i64(args + EMBED.weights)
        scale = load_f32(args + EMBED.scale)
        n_blocks = n_in // values
        for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            token = load_i32(tokens + 4 * i)
            p = weights + (token >> 4) * n_blocks * size
            start = load_i64(args + EMBED.out) + 4 * i * n_in
            out = start
            for _ in range(n_blocks):
                out = block(out, p, token & 15)
                p += size
            if scale != 1.0:
                for at in range(start, out, 4):
                    store_f32(at, load_f32(at) * scale)

    return embed

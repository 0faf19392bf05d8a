"""Matmul of bf16 lines on tile registers, for the prefill of quantized weights.

A thread takes a few panels of 16 outputs at a time, widens them to bf16 once, in memory that stays
in its second-level cache, and lets all rows pass, 32 rows by 32 outputs at a time. Each output is
summed by one thread, 32 k after 32 k, whatever the number of rows or threads. What lies behind the
last row or panel takes part, and is not stored.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks import visit_of
from qrt.kernels.blocks.parts import fetch
from qrt.kernels.intrinsics import fma, load_f32, load_f32x16, load_i64, store, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.layout import BF16_TILE, LINE, MATMUL_AMX, SCRATCH, STEP
from qrt.kernels.matmul import finish, rows_and_target
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat
from qrt.kernels.shuffles import lower_half, repeat, upper_half
from qrt.kernels.tiles import (
    add_products,
    begin_tiles,
    bf16_pairs,
    clear_sums,
    end_tiles,
    groups_in_turn,
    store_sums,
)

TILE_BYTES = BF16_TILE * LINE
"""Bytes of a tile: 16 rows of activations, or 16 outputs, and 32 k."""

SUMS_AT = 8 * TILE_BYTES
"""Where sums lie in a thread's scratch memory: behind the tile registers of other CPUs."""

MAX_PANELS = 24
"""Panels whose sums with 32 rows fit there."""

assert SUMS_AT + 2 * BF16_TILE * MAX_PANELS * LINE <= SCRATCH

four_rows = repeat(4)


@inline
def value(codes, scale, offset):
    """The lowest byte of each lane as a weight."""
    return fma(to_f32(codes & 0xFF), scale, offset)


@inline
def widen(codes, scale, offset, out):
    """16 k of 16 outputs: (8 pairs of k, 16 outputs, 2) of bf16 at `out`."""
    scales, offsets = four_rows(scale), four_rows(offset)
    first = bf16_pairs(value(codes, scales, offsets), value(codes >> 8, scales, offsets))
    second = bf16_pairs(value(codes >> 16, scales, offsets), value(codes >> 24, scales, offsets))
    store(out, groups_in_turn(first, second))


def _widened(fmt: PanelFormat) -> Any:
    """panel(p, n_in, out): one panel at p as tiles of bf16 at `out`."""
    zero, last_scale, n_mins = float(fmt.zero), fmt.scales - 1, fmt.mins
    size, values = 16 * fmt.block_bytes, fmt.block_size

    @inline
    def offset(scale, mins, half):
        if n_mins == 0:
            return scale * -zero
        return scale * -zero - (mins[half] if n_mins == 2 else mins[0])

    @inline
    def update(state, codes, scales, mins, out):
        widen(lower_half(codes), scales[0], offset(scales[0], mins, 0), out)
        last = scales[last_scale]
        widen(upper_half(codes), last, offset(last, mins, 1), out + TILE_BYTES // 2)
        return state

    visit = visit_of(fmt.qtype)(update, fetch)

    @inline
    def panel(p, n_in, out):
        for _ in range(n_in // values):
            visit(0, p, out, TILE_BYTES)
            p += size
            out += TILE_BYTES * values // 32

    return panel


@inline
def multiply(registers, x0, x1, w0, w1, n_in, out, stride):
    """The sums of 32 rows, 16 at x0 and 16 at x1, and two panels, to rows `stride` bytes apart."""
    clear_sums(registers)
    for at in range(0, TILE_BYTES * (n_in >> 5), TILE_BYTES):
        add_products(registers, x0 + at, x1 + at, w0 + at, w1 + at)
    store_sums(registers, out, stride)


def wide_panels(fmt: PanelFormat) -> Any:
    """multiply(registers, wide, wide_bytes, weights, x, n_x, n_in, first, end, n_rows, scale, bias,
    args, out): panels from `first`, an even number, up to `end` of a matrix times `n_in` values of
    each of `n_rows` rows of `n_x`, from x on.
    """
    widened = _widened(fmt)
    block_bytes, block_size = 16 * fmt.block_bytes, fmt.block_size

    @inline
    def some_panels(
        registers,
        wide,
        wide_bytes,
        weights,
        x,
        n_x,
        n_in,
        first,
        end,
        n_rows,
        scale,
        bias,
        args,
        out,
    ):
        sums, row_tiles = registers + SUMS_AT, (n_x >> 5) * TILE_BYTES
        panel_bytes, tiles_bytes = n_in // block_size * block_bytes, (n_in >> 5) * TILE_BYTES
        at_once = min(MAX_PANELS, wide_bytes // tiles_bytes & -2)
        for group in range(first, end, at_once):
            n_group = min(at_once, end - group)
            for i in range(n_group):
                widened(weights + (group + i) * panel_bytes, n_in, wide + i * tiles_bytes)
            for row in range(0, n_rows, 2 * BF16_TILE):
                x0 = x + row // BF16_TILE * row_tiles
                x1 = x0 + row_tiles if row + BF16_TILE < n_rows else x0
                for i in range(0, n_group, 2):
                    w0 = wide + i * tiles_bytes
                    to = sums + LINE * i
                    multiply(registers, x0, x1, w0, w0 + tiles_bytes, n_in, to, LINE * at_once)
                for r in range(min(2 * BF16_TILE, n_rows - row)):
                    for i in range(n_group):
                        value = load_f32x16(sums + LINE * (r * at_once + i))
                        finish(value, scale, bias, args, out, row + r, group + i)

    return some_panels


def build(qtype: str) -> Any:
    some_panels = wide_panels(PANEL_FORMATS[qtype])

    def matmul_amx(step, args, thread, n_threads):
        n_in, n_out = load_i64(args + MATMUL_AMX.n_in), load_i64(args + MATMUL_AMX.n_out)
        weights, x = load_i64(args + MATMUL_AMX.weights), load_i64(args + MATMUL_AMX.x)
        scale, bias = load_f32(args + MATMUL_AMX.scale), load_i64(args + MATMUL_AMX.bias)
        wide_bytes = load_i64(args + MATMUL_AMX.wide_bytes)
        wide = load_i64(args + MATMUL_AMX.wide) + thread * wide_bytes
        registers = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, out = rows_and_target(step, args)
        n_panels = (n_out + 15) >> 4
        n_pairs = (n_panels + 1) >> 1
        first = 2 * (n_pairs * thread // n_threads)
        end = min(n_panels, 2 * (n_pairs * (thread + 1) // n_threads)) if n_rows else 0
        begin_tiles(registers)
        some_panels(
            registers, wide, wide_bytes, weights, x, n_in, n_in, first, end, n_rows, scale, bias,
            args, out,
        )  # fmt: skip
        end_tiles()

    return matmul_amx

"""Matmul on packed panels: y[t, o] = sum_i x[t, i] * w[o, i] * scale + bias[o] + residual[t, o].

Threads take panels; a few panels of 16 outputs stay in cache while tiles of activation rows pass.
Lanes are outputs, so there are no sums across lanes, and each output is summed by one thread in one
order whatever the number of rows, tiles or threads. Accumulators of a tile of R rows are one vector
of 16 R lanes.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.addresses import anchored, prefetch_weights
from qrt.kernels.blocks import visit_of
from qrt.kernels.blocks.parts import fetch
from qrt.kernels.dots import dot
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    lane,
    load_bf16x16,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_i64,
    store,
    store_f32,
    to_f32,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import LINE, LINE_AT, MATMUL, SCRATCH, STEP
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat
from qrt.kernels.rows import row_count
from qrt.kernels.shuffles import lower_half, repeat, upper_half
from qrt.kernels.vectors import LANES

PANELS_AT_ONCE = 4
"""Panels that meet one tile of rows while it is in the first-level cache."""


def _dots(fmt: PanelFormat, tile: int, lanes: int) -> Any:
    """dots(codes, x): the whole products of 32 codes and a tile of activation lines, one vector for
    each scale.
    """
    products = dot(fmt.bits, fmt.zero, LINE, lanes)
    each_sum = each_of("i32", tile, LINE, lanes)

    @inline
    def one_scale(codes, x):
        return (products(each_sum(x + LINE_AT.nsum), codes, x),)

    @inline
    def two_scales(codes, x):
        low = products(each_sum(x + LINE_AT.nsum_low), lower_half(codes), x)
        return low, products(each_sum(x + LINE_AT.nsum_high), upper_half(codes), x + 16)

    return one_scale if fmt.scales == 1 else two_scales


def _scaled(fmt: PanelFormat, tile: int, lanes: int) -> Any:
    """scaled(acc, dots, scales, x): acc + products times the scales of both sides."""
    each_scale, rows = each_of("f32", tile, LINE, lanes), repeat(tile)

    @inline
    def one_scale(acc, dots, scales, x):
        return fma(to_f32(dots[0]), rows(scales[0]) * each_scale(x + LINE_AT.scale), acc)

    @inline
    def two_scales(acc, dots, scales, x):
        low = to_f32(dots[0]) * rows(scales[0])
        return fma(fma(to_f32(dots[1]), rows(scales[1]), low), each_scale(x + LINE_AT.scale), acc)

    return one_scale if fmt.scales == 1 else two_scales


def _mins(fmt: PanelFormat, tile: int, lanes: int) -> Any:
    """acc minus the mins times the sums of the activations."""
    each_sum, rows = each_of("f32", tile, LINE, lanes), repeat(tile)

    @inline
    def none(acc, mins, x):
        return acc

    @inline
    def one(acc, mins, x):
        return acc - rows(mins[0]) * each_sum(x + LINE_AT.fsum)

    @inline
    def two(acc, mins, x):
        acc = acc - rows(mins[0]) * each_sum(x + LINE_AT.fsum_low)
        return acc - rows(mins[1]) * each_sum(x + LINE_AT.fsum_high)

    return (none, one, two)[fmt.mins]


def summed_for(fmt: PanelFormat, tile: int, lanes: int = LANES) -> Any:
    """summed(acc, dots, scales, mins, x): acc + 32 values of `lanes` weight rows times a tile of
    activation lines, whose whole products are known.
    """
    scaled, minus = _scaled(fmt, tile, lanes), _mins(fmt, tile, lanes)

    @inline
    def summed(acc, dots, scales, mins, x):
        return minus(scaled(acc, dots, scales, x), mins, x)

    return summed


def update_for(fmt: PanelFormat, tile: int, lanes: int = LANES) -> Any:
    """update(acc, codes, scales, mins, x): acc + 32 values of `lanes` weight rows times a tile of
    activation lines.
    """
    dots, summed = _dots(fmt, tile, lanes), summed_for(fmt, tile, lanes)

    @inline
    def update(acc, codes, scales, mins, x):
        return summed(acc, dots(codes, x), scales, mins, x)

    return update


def quantized_block(fmt: PanelFormat, tile: int, fetch: Any) -> Any:
    """block(acc, p, x): acc + one block of 16 weight rows at p times a tile of lines at x."""
    visit = visit_of(fmt.qtype)(update_for(fmt, tile), fetch)

    @inline
    def block(acc, p, x):
        return visit(acc, p, x, tile * LINE)

    return block


def _quantized_panel(fmt: PanelFormat, tile: int) -> Any:
    """The accumulators of one panel and one tile of quantized rows."""
    block = quantized_block(fmt, tile, fetch)
    size, values = fmt.panel_bytes, fmt.block_size
    x_block = tile * LINE * (values // 32)

    @inline
    def panel(acc, p, x, n_in):
        for _ in range(n_in // values):
            acc = block(acc, p, x)
            p += size
            x += x_block
        return acc

    return panel


FLOATS = {"F32": load_f32x16, "F16": load_f16x16, "BF16": load_bf16x16}
"""How 16 plain numbers are read as float32."""


def _float_panel(fmt: PanelFormat, tile: int) -> Any:
    """The accumulators of one panel and one tile of float32 rows; acc must be zero."""
    load, each_x, rows = FLOATS[fmt.qtype], each_of("f32", tile, 4), repeat(tile)
    k_bytes, x_step = fmt.panel_bytes, 4 * tile

    @inline
    def panel(acc, p, x, n_in):
        """Even and odd k apart, to keep two sums under way."""
        even, odd = acc, acc
        for _ in range(n_in >> 1):
            x = anchored(x)
            prefetch_weights(p)
            even = fma(rows(load(p)), each_x(x), even)
            odd = fma(rows(load(p + k_bytes)), each_x(x + x_step), odd)
            p += 2 * k_bytes
            x += 2 * x_step
        if n_in & 1:
            even = fma(rows(load(p)), each_x(x), even)
        return even + odd

    return panel


@inline
def rows_and_target(step, args):
    """How many rows a matmul has, and where they go: without a place, to the step's output."""
    out = load_i64(args + MATMUL.out)
    if out == 0:
        out = load_i64(step + STEP.output)
    return row_count(step, args + MATMUL.rows_of), out


@inline
def finish(value, scale, bias, args, out, row, panel):
    """Scales the outputs of a panel, adds bias and residual and stores those that there are.

    `args` begin as MATMUL does; bias is an address, 0 for none.
    """
    value, residual = value * scale, load_i64(args + MATMUL.residual)
    column = 16 * panel
    at = 4 * (row * load_i64(args + MATMUL.stride) + column)
    width = min(16, load_i64(args + MATMUL.n_out) - column)
    out += at
    if residual:
        residual += at
    if width == 16:
        if bias:
            value = value + load_f32x16(bias + 4 * column)
        if residual:
            value = value + load_f32x16(residual)
        store(out, value)
    else:
        for i in range(width):
            y = lane(value, i)
            if bias:
                y += lane(load_f32x16(bias + 4 * column), i)
            if residual:
                y += lane(load_f32x16(residual), i)
            store_f32(out + 4 * i, y)


def few_rows(fmt: PanelFormat, tile: int) -> Any:
    """multiply(scratch, weights, x, n_x, n_in, first, end, rows, n_rows, scale, bias, args, out):
    panels from `first` up to `end` of a matrix times `n_in` values of each of `n_rows` rows of
    `n_x`, from x on; the first row is number `rows`.
    """
    panel = (_quantized_panel if fmt.quantized else _float_panel)(fmt, tile)
    nothing, row_bytes = zeros(16 * tile), x_bytes(fmt)
    block_bytes, block_size = fmt.panel_bytes, fmt.block_size

    @inline
    def multiply(scratch, weights, x, n_x, n_in, first, end, rows, n_rows, scale, bias, args, out):
        panel_bytes = n_in // block_size * block_bytes
        for group in range(first, end, PANELS_AT_ONCE):
            for row in range(0, n_rows, tile):
                for i in range(group, min(group + PANELS_AT_ONCE, end)):
                    p = weights + i * panel_bytes
                    acc = panel(nothing(), p, x + row * n_x * row_bytes, n_in)
                    store(scratch, acc)
                    for r in range(min(tile, n_rows - row)):
                        value = load_f32x16(scratch + 64 * r)
                        finish(value, scale, bias, args, out, rows + row + r, i)

    return multiply


def x_bytes(fmt: PanelFormat) -> int:
    """Bytes of activations for each k of a row, as weights of a format want them."""
    return LINE // 32 if fmt.quantized else 4


def matmul_of(multiply: Any) -> Any:
    """The kernel that shares out the panels of a matrix among threads."""

    def matmul(step, args, thread, n_threads):
        n_in, n_out = load_i64(args + MATMUL.n_in), load_i64(args + MATMUL.n_out)
        weights, x = load_i64(args + MATMUL.weights), load_i64(args + MATMUL.x)
        scale, bias = load_f32(args + MATMUL.scale), load_i64(args + MATMUL.bias)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, out = rows_and_target(step, args)
        n_panels = (n_out + 15) >> 4
        first, end = n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads
        multiply(scratch, weights, x, n_in, n_in, first, end, 0, n_rows, scale, bias, args, out)

    return matmul


def build(qtype: str, tile_rows: str) -> Any:
    """The kernel for weights of `qtype` and tiles of `tile_rows` activation rows."""
    return matmul_of(few_rows(PANEL_FORMATS[qtype], int(tile_rows)))

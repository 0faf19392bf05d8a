"""Matmul of many rows: weights are taken apart once and meet all rows of the step.

The arithmetic and its order are those of `matmul`, so both give the same bits. What differs is the
way: of a few panels, the codes and scales of some hundred k are unpacked into the first-level
cache, side by side, and the activation rows, which lie in tiles of ROW_TILE, pass over them. Their
accumulators wait in the scratch memory meanwhile.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32x16, load_wide, store, zeros
from qrt.kernels.jit import inline
from qrt.kernels.layout import LINE, ROW_TILE, SCRATCH, TILE_ROWS
from qrt.kernels.matmul import finish, matmul_of, update_for, x_bytes
from qrt.kernels.matmul_floats import float_products
from qrt.kernels.matmul_tiles import PANELS, tile_products
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat
from qrt.kernels.unpacked import K_AT_ONCE, Parts, as_codes, numbers, unpack_of

ROWS_AT_ONCE = 512
"""Rows whose accumulators wait in the scratch memory. Measured: 256 is 2-3% slower."""

SUMS_BYTES = 64 * ROWS_AT_ONCE
"""Bytes of the accumulators of one panel; unpacked weights lie behind those of all."""


def _finish_rows(n_panels: int) -> Any:
    """finish_rows(sums, n_rows, n_here, scale, bias, args, out, row, panel): stores outputs."""

    @inline
    def finish_rows(sums, n_rows, n_here, scale, bias, args, out, row, panel):
        for r in range(n_rows):
            for i in range(n_here):
                value = load_f32x16(sums + 64 * (n_panels * r + i))
                finish(value, scale, bias, args, out, row + r, panel + i)

    return finish_rows


def _quantized_products(fmt: PanelFormat, at_once: int, n_panels: int, finish_rows: Any) -> Any:
    """products of quantized rows, `at_once` of a tile; see `build`."""
    lanes, parts_of = 16 * n_panels, Parts(fmt, n_panels)
    update, unpack = update_for(fmt, at_once, lanes), unpack_of(parts_of, as_codes)
    vector, part, x_part = parts_of.vector, parts_of.size, ROW_TILE * LINE
    codes_at = load_wide(8 * lanes, "i32")
    scales_at, mins_at = numbers(fmt.scales, lanes, vector), numbers(fmt.mins, lanes, vector)
    first_scale, first_min = parts_of.first_scale, parts_of.first_min
    load_sums, nothing = load_wide(lanes * at_once), zeros(lanes * at_once)
    block_bytes, block_size = fmt.panel_bytes, fmt.block_size
    assert SUMS_BYTES * n_panels + K_AT_ONCE // 32 * part <= SCRATCH

    @inline
    def meet(acc, w, x, n_parts):
        """acc + unpacked parts at w times rows of a tile of lines at x."""
        for _ in range(n_parts):
            acc = update(acc, codes_at(w), scales_at(w + first_scale), mins_at(w + first_min), x)
            w += part
            x += x_part
        return acc

    @inline
    def products(
        kept, p, panel_bytes, n_here, x, n_x, n_in, n_rows, scale, bias, args, out, first, panel
    ):
        parts = kept + SUMS_BYTES * n_panels
        for k in range(0, n_in, K_AT_ONCE):
            n_k = min(K_AT_ONCE, n_in - k)
            for i in range(n_here):
                block = p + i * panel_bytes + k // block_size * block_bytes
                unpack(parts + 64 * i, block, n_k // block_size)
            for row in range(0, n_rows, at_once):
                acc = load_sums(kept + vector * row) if k else nothing()
                tile, member = row // ROW_TILE * ROW_TILE, row % ROW_TILE
                lines = x + (tile * n_x + k * ROW_TILE) * (LINE // 32) + member * LINE
                store(kept + vector * row, meet(acc, parts, lines, n_k >> 5))
                if k + n_k == n_in:
                    n, sums = min(at_once, n_rows - row), kept + vector * row
                    finish_rows(sums, n, n_here, scale, bias, args, out, first + row, panel)

    return products


def many_rows(fmt: PanelFormat, rows_at_once: int, panels_at_once: int) -> Any:
    """multiply(scratch, weights, x, n_x, n_in, first, end, rows, n_rows, scale, bias, args, out) as
    in `matmul`, for many rows, whose sums of so many rows and panels fit registers; rows lie in
    tiles of ROW_TILE, or of `rows_at_once` where those are more.

    Codes of 8 bits, whose signs avx2 sets apart, meet ROW_TILE rows, plain numbers that or twice as
    many, see `matmul_floats`. TILE_ROWS stand for tile registers.

    products(kept, p, panel_bytes, n_here, x, n_x, n_in, n_rows, ..., first, panel) multiplies
    n_here panels at p, from the panel-th on, with n_rows rows at x, from the first-th on, and
    stores the outputs of a tile as soon as its sums are whole: writing them hides behind the work
    on the next. Sums wait at `kept` as (n_rows, panels_at_once, 16) float32.
    """
    at_once, n_panels = rows_at_once, panels_at_once
    tile_rows = max(ROW_TILE, at_once)
    if fmt.bits in (0, 8) and at_once < ROW_TILE:
        at_once, n_panels = ROW_TILE, max(1, at_once * n_panels // ROW_TILE)
    finish_rows = _finish_rows(n_panels)
    if not fmt.quantized:
        products = float_products(fmt, tile_rows, n_panels, finish_rows, ROWS_AT_ONCE)
    elif tile_rows == TILE_ROWS:
        products, n_panels = tile_products(fmt, ROWS_AT_ONCE), PANELS
    else:
        products = _quantized_products(fmt, at_once, n_panels, finish_rows)
    row_bytes = x_bytes(fmt)
    block_bytes, block_size = fmt.panel_bytes, fmt.block_size

    @inline
    def multiply(scratch, weights, x, n_x, n_in, first, end, rows, n_rows, scale, bias, args, out):
        panel_bytes = n_in // block_size * block_bytes
        for panel in range(first, end, n_panels):
            n_here, p = min(n_panels, end - panel), weights + panel * panel_bytes
            for row in range(0, n_rows, ROWS_AT_ONCE):
                n, here = min(ROWS_AT_ONCE, n_rows - row), x + row * n_x * row_bytes
                at = rows + row
                products(
                    scratch,
                    p,
                    panel_bytes,
                    n_here,
                    here,
                    n_x,
                    n_in,
                    n,
                    scale,
                    bias,
                    args,
                    out,
                    at,
                    panel,
                )

    return multiply


def build(qtype: str, rows_at_once: str, panels_at_once: str) -> Any:
    """The kernel for weights of `qtype`; see `many_rows`."""
    multiply = many_rows(PANEL_FORMATS[qtype], int(rows_at_once), int(panels_at_once))
    return matmul_of(multiply)

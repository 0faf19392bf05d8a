"""How a row of activations is handed to matmuls: lines of int8, or float32 tiles."""

from __future__ import annotations

from qrt.kernels.intrinsics import (
    as_f32,
    as_i32,
    fma,
    load_f32,
    load_f32x16,
    max_lanes,
    store_f32,
    store_i8x16,
    store_i32,
    sum_lanes,
    to_f32,
    vmax,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import LINE, LINE_AT
from qrt.kernels.mathematics import TO_INTEGER

INTEGER_BITS = 0x4B400000
"""TO_INTEGER as an integer: what whole numbers have to lose after it was added."""

TINY = 1e-36
"""Lines that stay below it become zeros: the inverse of their scale would not be finite."""


@inline
def padded(n):
    """n rounded up to whole lines."""
    return (n + 31) & -32


@inline
def stage(x, n, scale, target):
    """n floats at x times `scale`, and zeros up to whole lines."""
    for i in range(padded(n)):
        store_f32(target + 4 * i, load_f32(x + 4 * i) * scale if i < n else 0.0)


@inline
def magnitude(x):
    """|x|"""
    return as_f32(as_i32(x) & 0x7FFFFFFF)


@inline
def whole(x, largest):
    """x * 127 / largest, rounded to whole numbers."""
    inverse = 127.0 / largest if largest > TINY else 0.0
    return as_i32(fma(x, inverse, TO_INTEGER)) - INTEGER_BITS


@inline
def not_finite(low, high):
    """NaN if any value is not finite, else 0."""
    return sum_lanes(fma(low, 0.0, high * 0.0))


@inline
def scale_of(low, high, largest):
    """What `whole` numbers stand for: NaN if any value is not finite."""
    return largest / 127.0 + not_finite(low, high)


@inline
def quantize_line(low, high, line):
    """32 values to one line: scale = max|x| / 127, quants rounded to nearest, ties to even.

    A value that is not finite makes the scale NaN, so that no output hides it.
    """
    largest = max_lanes(vmax(magnitude(low), magnitude(high)))
    low_i, high_i = whole(low, largest), whole(high, largest)
    store_i8x16(line, low_i)
    store_i8x16(line + 16, high_i)
    scale = scale_of(low, high, largest)
    low_sum, high_sum = sum_lanes(to_f32(low_i)), sum_lanes(to_f32(high_i))  # exact: below 2**24
    store_f32(line + LINE_AT.scale, scale)
    store_i32(line + LINE_AT.nsum, int(-(low_sum + high_sum)))
    store_i32(line + LINE_AT.nsum_low, int(-low_sum))
    store_i32(line + LINE_AT.nsum_high, int(-high_sum))
    store_f32(line + LINE_AT.fsum, scale * (low_sum + high_sum))
    store_f32(line + LINE_AT.fsum_low, scale * low_sum)
    store_f32(line + LINE_AT.fsum_high, scale * high_sum)


@inline
def quantize_row(x, n, row, tile, lines):
    """n float32 values at x (n a multiple of 32) to row `row` of the tiles at `lines`."""
    n_blocks = n >> 5
    line = lines + (row // tile * tile * n_blocks + row % tile) * LINE
    for _ in range(n_blocks):
        quantize_line(load_f32x16(x), load_f32x16(x + 64), line)
        x += 128
        line += tile * LINE


@inline
def tile_row(x, n, row, tile, floats):
    """n float32 values at x to row `row` of the tiles at `floats`, each (n, tile)."""
    at = floats + 4 * (row // tile * tile * n + row % tile)
    for _ in range(n):
        store_f32(at, load_f32(x))
        x += 4
        at += 4 * tile


@inline
def hand_over(x, n, row, tile, lines, floats):
    """Writes a finished row in the forms asked for, in tiles of `tile` rows; address 0 for none."""
    if lines:
        quantize_row(x, n, row, tile, lines)
    if floats:
        tile_row(x, n, row, tile, floats)

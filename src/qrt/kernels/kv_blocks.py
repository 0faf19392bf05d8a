"""KV pages of Q8_0 or Q4_0: 32 values of a position share a scale.

K lies as weights do: 16 positions are a panel, so that scores are a matmul of quantized queries. V
is as in `kv_pages`, of each part the codes in the order of their blocks, then the scales.
"""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_TYPES
from qrt.kernels.activations import (
    INTEGER_BITS,
    TINY,
    magnitude,
    not_finite,
    padded,
    quantize_row,
    scale_of,
    stage,
    whole,
)
from qrt.kernels.addresses import prefetch
from qrt.kernels.blocks import visit_of
from qrt.kernels.blocks.parts import fetch_nothing
from qrt.kernels.intrinsics import (
    as_i32,
    each_half,
    fma,
    load_f32x16,
    load_i8x16,
    load_i32,
    load_i32x16,
    load_u8x16,
    load_u16,
    max_lanes,
    splat_f32,
    store,
    store_f16x16,
    store_f32x16,
    store_i8x16,
    store_i32,
    store_u16,
    to_f32,
    vmax,
    vmin,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_pages import dims_at_once
from qrt.kernels.layout import LINE, PAGE
from qrt.kernels.mathematics import TO_INTEGER
from qrt.kernels.matmul import quantized_block
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.shuffles import concat, lower_half, repeat, upper_half


@inline
def quantize_q8_0(x, block):
    """32 floats at x to signed bytes at `block`, and the bits of their float16 scale behind."""
    low, high = load_f32x16(x), load_f32x16(x + 64)
    largest = max_lanes(vmax(magnitude(low), magnitude(high)))
    store_i8x16(block, whole(low, largest))
    store_i8x16(block + 16, whole(high, largest))
    store_f16x16(block + 32, splat_f32(scale_of(low, high, largest)))


@inline
def quantize_q4_0(x, block):
    """32 floats at x to nibbles at `block`, and the bits of their float16 scale behind.

    The value of largest magnitude becomes -8 * scale, which alone reaches the end of the range.
    """
    low, high = load_f32x16(x), load_f32x16(x + 64)
    above, below = max_lanes(vmax(low, high)), max_lanes(vmax(0.0 - low, 0.0 - high))
    peak = above if above > below else -below
    inverse = -8.0 / peak if max(above, below) > TINY else 0.0
    low_i, high_i = nibbles(low, inverse), nibbles(high, inverse)
    store_i8x16(block, low_i | (high_i << 4))
    store_f16x16(block + 16, splat_f32(peak / -8.0 + not_finite(low, high)))


@inline
def nibbles(x, inverse):
    """x * inverse rounded to whole numbers up to 7, plus 8."""
    return as_i32(vmin(fma(x, inverse, TO_INTEGER), TO_INTEGER + 7.0)) - (INTEGER_BITS - 8)


@inline
def codes_q8_0(block):
    """The codes of dimensions 0 .. 15 and 16 .. 31 as floats."""
    return load_i8x16(block), load_i8x16(block + 16)


@inline
def codes_q4_0(block):
    """The codes of dimensions 0 .. 15 and 16 .. 31 as floats."""
    both = load_u8x16(block)
    return to_f32((both & 15) - 8), to_f32((both >> 4) - 8)


CODECS = {"Q8_0": (quantize_q8_0, codes_q8_0), "Q4_0": (quantize_q4_0, codes_q4_0)}
"""What turns floats into a block, and a block into floats."""


def writers(kv_type: str) -> tuple[Any, Any]:
    """write_k, write_v (x, n, width, scratch, part, slot): n floats at x into their slot."""
    qtype = CACHE_TYPES[kv_type].name
    fmt, (quantize, _) = PANEL_FORMATS[qtype], CODECS[qtype]
    _, codes = fmt.fields
    code_bytes, block_bytes, panel_bytes = 4 * codes.count, fmt.block_bytes, fmt.panel_bytes
    most = dims_at_once()
    flip = 0x80808080 if codes.change == "flip" else 0

    @inline
    def write_k(x, n, width, scratch, part, slot):
        stage(x, n, 1.0, scratch)
        block, lane = scratch + 4 * width, slot & 15
        panel = part + (slot >> 4) * (width >> 5) * panel_bytes
        for d in range(0, width, 32):
            quantize(scratch + 4 * d, block)
            store_u16(panel + 2 * lane, load_u16(block + code_bytes))
            for i in range(0, code_bytes, 4):
                store_i32(panel + 32 + 16 * i + 4 * lane, load_i32(block + i) ^ flip)
            panel += panel_bytes

    @inline
    def write_v(x, n, width, scratch, part, slot):
        stage(x, n, 1.0, scratch)
        block = scratch + 4 * width
        for d in range(0, width, 32):
            first = d // most * most
            n_blocks = min(most, width - first) >> 5
            codes = part + PAGE * (first >> 5) * block_bytes
            scales = codes + PAGE * n_blocks * code_bytes
            at = slot * n_blocks + ((d - first) >> 5)
            quantize(scratch + 4 * d, block)
            for i in range(0, code_bytes, 4):
                store_i32(codes + at * code_bytes + i, load_i32(block + i))
            store_u16(scales + 2 * at, load_u16(block + code_bytes))

    return write_k, write_v


def key_readers(kv_type: str, heads: int) -> tuple[Any, Any]:
    """put_query and scores for `heads` query heads at once; see `attend_page`."""
    fmt = PANEL_FORMATS[CACHE_TYPES[kv_type].name]
    nothing, panel_bytes = zeros(16 * heads), fmt.panel_bytes
    block = quantized_block(fmt, heads, fetch_nothing)

    @inline
    def put_query(queries, head, x, n, scale, staging):
        """Queries lie as activation lines, a row each."""
        stage(x, n, scale, staging)
        quantize_row(staging, padded(n), head, heads, queries)

    @inline
    def scores(queries, k, head_dim, out, ahead):
        n_blocks = padded(head_dim) >> 5
        for _ in range(0, PAGE, 32):
            one, other, x, further = nothing(), nothing(), queries, k + n_blocks * panel_bytes
            for _ in range(n_blocks):
                for line in range(0, panel_bytes, 64):
                    prefetch(k + line, ahead)
                    prefetch(further + line, ahead)
                one, other = block(one, k, x), block(other, further, x)
                k += panel_bytes
                further += panel_bytes
                x += heads * LINE
            store(out, one)
            store(out + 64 * heads, other)
            k = further
            out += 128 * heads

    return put_query, scores


def column_reader(kv_type: str) -> tuple[Any, Any, int]:
    """columns_of, load_16 and the bytes of an element; see `values`."""
    fmt = PANEL_FORMATS[CACHE_TYPES[kv_type].name]
    zero, panel_bytes = fmt.zero, fmt.panel_bytes

    @inline
    def spread(column, codes, scales, mins, words):
        """32 dimensions of 16 positions."""
        store(words, codes)
        for d in range(32):
            code = (load_i32x16(words + 64 * (d >> 2)) >> (8 * (d & 3))) & 0xFF
            store_f32x16(column + 4 * PAGE * d, to_f32(code - zero) * scales[0])
        return column

    visit = visit_of(fmt.qtype)(spread, fetch_nothing)

    @inline
    def columns_of(k, k_width, d, first, last, room):
        n_blocks = padded(k_width) >> 5
        for slot in range(first & -16, last + 1, 16):
            panel = k + ((slot >> 4) * n_blocks + (d >> 5)) * panel_bytes
            visit(room + 4 * slot, panel, room + 4 * 32 * PAGE, 0)
        return room

    return columns_of, load_f32x16, 4


def value_reader(kv_type: str, heads: int, dims: int) -> Any:
    """add for `heads` query heads and `dims` dimensions at once; see `attend_page`."""
    qtype = CACHE_TYPES[kv_type].name
    fmt, (_, codes_of) = PANEL_FORMATS[qtype], CODECS[qtype]
    every, code_bytes = repeat(heads), 4 * fmt.fields[1].count

    @inline
    def add_32(total, weight, v, width, slot, i):
        """The i-th 32 dimensions of those at v."""
        block = slot * (width >> 5) + i
        scale = each_half(v + PAGE * (width >> 5) * code_bytes + 2 * block)
        low, high = codes_of(v + block * code_bytes)
        weight = weight * every(scale)
        return fma(concat(every(low), every(high)), concat(weight, weight), total)

    @inline
    def add_first(total, weight, v, width, slot):
        return add_32(total, weight, v, width, slot, 0)

    @inline
    def add_both(total, weight, v, width, slot):
        low = add_32(lower_half(total), weight, v, width, slot, 0)
        return concat(low, add_32(upper_half(total), weight, v, width, slot, 1))

    return {32: add_first, 64: add_both}[dims]

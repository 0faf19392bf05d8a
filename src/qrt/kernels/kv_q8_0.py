"""KV pages of Q8_0: 32 values of a position share a scale.

K lies as weights do: 16 positions are a panel, so that scores are a matmul of quantized queries. V
is (PAGE, width) signed bytes, then (PAGE, width / 32) scales.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import magnitude, padded, quantize_row, scale_of, stage, whole
from qrt.kernels.blocks.parts import fetch_nothing
from qrt.kernels.intrinsics import (
    each_half,
    fma,
    load_f32x16,
    load_i8x16,
    load_i32,
    load_u16,
    max_lanes,
    prefetch,
    repeat,
    splat_f32,
    store_f16x16,
    store_i8x16,
    store_i32,
    store_u16,
    vmax,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import LINE, PAGE
from qrt.kernels.matmul import quantized_block
from qrt.kernels.panels import PANEL_FORMATS

FORMAT = PANEL_FORMATS["Q8_0"]
BLOCK = 16 * FORMAT.block_bytes
"""Bytes of 32 dimensions of 16 positions of K."""


@inline
def quantize(x, codes):
    """32 floats at x to signed bytes at `codes`, and the bits of their float16 scale behind."""
    low, high = load_f32x16(x), load_f32x16(x + 64)
    largest = max_lanes(vmax(magnitude(low), magnitude(high)))
    store_i8x16(codes, whole(low, largest))
    store_i8x16(codes + 16, whole(high, largest))
    store_f16x16(codes + 32, splat_f32(scale_of(low, high, largest)))


def writers(kv_type: str) -> tuple[Any, Any]:
    """write_k, write_v (x, n, width, scratch, part, slot): n floats at x into their slot."""

    @inline
    def write_k(x, n, width, scratch, part, slot):
        stage(x, n, 1.0, scratch)
        codes, lane = scratch + 4 * width, slot & 15
        block = part + (slot >> 4) * (width >> 5) * BLOCK
        for d in range(0, width, 32):
            quantize(scratch + 4 * d, codes)
            store_u16(block + 2 * lane, load_u16(codes + 32))
            for g in range(8):
                word = load_i32(codes + 4 * g) ^ 0x80808080
                store_i32(block + 32 + 64 * g + 4 * lane, word)
            block += BLOCK

    @inline
    def write_v(x, n, width, scratch, part, slot):
        stage(x, n, 1.0, scratch)
        codes = scratch + 4 * width
        at, scale = part + slot * width, part + PAGE * width + slot * (width >> 4)
        for d in range(0, width, 32):
            quantize(scratch + 4 * d, codes)
            for i in range(0, 32, 4):
                store_i32(at + d + i, load_i32(codes + i))
            store_u16(scale + (d >> 4), load_u16(codes + 32))

    return write_k, write_v


def readers(kv_type: str, heads: int) -> tuple[Any, Any, Any]:
    """put_query, scores and add for `heads` query heads at once; see `attention`."""
    every, nothing = repeat(heads), zeros(16 * heads)
    block = quantized_block(FORMAT, heads, fetch_nothing)

    @inline
    def put_query(queries, head, x, n, scale, staging):
        """Queries lie as activation lines, a row each."""
        stage(x, n, scale, staging)
        quantize_row(staging, padded(n), head, heads, queries)

    @inline
    def scores(queries, k, head_dim, slot, ahead):
        n_blocks = padded(head_dim) >> 5
        near, far = nothing(), nothing()
        at, x = k + (slot >> 4) * n_blocks * BLOCK, queries
        for _ in range(n_blocks):
            for line in range(0, 2 * BLOCK, 64):
                prefetch(ahead + line, 0)
            near = block(near, at, x)
            far = block(far, at + n_blocks * BLOCK, x)
            at += BLOCK
            x += heads * LINE
            ahead += 2 * BLOCK
        return near, far, ahead

    @inline
    def add(near, far, weight, v, width, slot, d):
        x = v + slot * width + d
        scale = each_half(v + PAGE * width + slot * (width >> 4) + (d >> 4))
        weight = weight * every(scale)
        near = fma(every(load_i8x16(x)), weight, near)
        return near, fma(every(load_i8x16(x + 16)), weight, far)

    return put_query, scores, add

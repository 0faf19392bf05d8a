"""p . v of attention: V beside K in a page, or V that is the first values of each row of K.

gain(weights, factors, sums, k, k_width, width, first, last, fresh, following, room) adds to the
sums of `width` dimensions, which shrink by the factor of their head, the values of slots first ..
last of the page at k times their weights. It asks for what it reads `bytes_ahead` later, and then
for the page at `following`; `room` is memory for it.
"""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_BYTES
from qrt.kernels.activations import padded
from qrt.kernels.addresses import prefetch_run
from qrt.kernels.instructions import bytes_ahead
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    load_wide,
    store,
    sums_of_16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_caches import CACHES
from qrt.kernels.kv_pages import dims_at_once
from qrt.kernels.layout import PAGE
from qrt.kernels.shuffles import repeat, within

ROOM = 4 * 32 * PAGE + 512
"""Bytes for 32 dimensions of a page as floats, and for the codes of 16 slots."""


def some_dims(v_type: str, heads: int, dims: int, ask: bool = True) -> Any:
    """gain for `dims` dimensions, whose sums lie at `at`, and which begin at v in slot 0; the next
    slot has them `width` dimensions later. With `ask` it asks for what lies `bytes_ahead`, `leap`
    further from `end` on.
    """
    add = CACHES[v_type].value_reader(v_type, heads, dims)
    each_head, each_weight = each_of("f32", heads, 4), each_of("f32", heads, 64)
    load_sums, none = load_wide(dims * heads), zeros(dims * heads)
    each_factor, wide = repeat(dims // 16), 64 * heads
    row_bytes, ahead = dims // 32 * CACHE_BYTES[v_type], bytes_ahead()
    ask_for = prefetch_run(max(1, row_bytes >> 6))

    @inline
    def gain(weights, factors, at, v, width, first, last, fresh, end, leap):
        total = none()
        if not fresh:
            total = load_sums(at) * each_factor(each_head(factors))
        for slot in range(first, last + 1):
            if ask:
                near = v + slot * row_bytes + ahead
                if near >= end:
                    near += leap
                ask_for(near, 0)
            weight = each_weight(weights + (slot >> 4) * wide + 4 * (slot & 15))
            total = add(total, weight, v, width, slot)
        store(at, total)

    return gain


def beside_keys(k_type: str, v_type: str, heads: int) -> Any:
    """gain where lanes are dimensions: slot by slot, as many at once as lie together."""
    most, k_bytes, v_bytes = dims_at_once(), CACHE_BYTES[k_type], CACHE_BYTES[v_type]
    gain_most, gain_rest = some_dims(v_type, heads, most), some_dims(v_type, heads, 32)
    wide = 64 * heads

    @inline
    def gain(weights, factors, sums, k, k_width, width, first, last, fresh, following, room):
        v = k + PAGE * (padded(k_width) >> 5) * k_bytes
        end = v + PAGE * (width >> 5) * v_bytes
        leap = following - end
        for _ in range(0, width - most + 1, most):
            gain_most(weights, factors, sums, v, most, first, last, fresh, end, leap)
            sums += (most >> 4) * wide
            v += PAGE * (most >> 5) * v_bytes
        if width % most:
            gain_rest(weights, factors, sums, v, 32, first, last, fresh, end, leap)

    return gain


def in_keys(k_type: str, heads: int) -> Any:
    """gain where lanes are positions: dimension by dimension, then the lanes of 16 of these.

    What depends on the type of K: columns_of(k, k_width, d, first, last, room) is where 32
    dimensions from d on lie, each with PAGE slots side by side; load_16 loads 16 of those.
    """
    columns_of, load_16, size = CACHES[k_type].column_reader(k_type)
    nothing, load_vector, every = zeros(16 * heads), load_wide(16 * heads), repeat(heads)
    each_head, sums_of_lanes, wide = each_of("f32", heads, 4), sums_of_16(heads), 64 * heads

    @inline
    def part_of_page(weights, column, first, last, by_dim):
        """Weighted values of 16 dimensions, added up lane by lane."""
        for at in range(by_dim, by_dim + 16 * wide, wide):
            total = nothing()
            for slot in range(first & -16, last + 1, 16):
                value = within(slot, first, last, load_16(column + slot * size), 0.0)
                total = fma(every(value), load_vector(weights + (slot >> 4) * wide), total)
            store(at, total)
            column += PAGE * size

    @inline
    def whole_page(weights, column, by_dim):
        """The same for all slots, whose weights stay in registers."""
        w0, w1 = load_vector(weights), load_vector(weights + wide)
        w2, w3 = load_vector(weights + 2 * wide), load_vector(weights + 3 * wide)
        for at in range(by_dim, by_dim + 16 * wide, wide):
            total = every(load_16(column)) * w0
            total = fma(every(load_16(column + 16 * size)), w1, total)
            total = fma(every(load_16(column + 32 * size)), w2, total)
            store(at, fma(every(load_16(column + 48 * size)), w3, total))
            column += PAGE * size

    @inline
    def gain(weights, factors, sums, k, k_width, width, first, last, fresh, following, room):
        by_dim = room + ROOM
        for d in range(0, width, 32):
            column = columns_of(k, k_width, d, first, last, room)
            for at in range(sums + (d >> 4) * wide, sums + ((d >> 4) + 2) * wide, wide):
                if last - first == PAGE - 1:
                    whole_page(weights, column, by_dim)
                else:
                    part_of_page(weights, column, first, last, by_dim)
                column += 16 * PAGE * size
                total = sums_of_lanes(by_dim)
                if not fresh:
                    total = fma(load_vector(at), each_head(factors), total)
                store(at, total)

    return gain

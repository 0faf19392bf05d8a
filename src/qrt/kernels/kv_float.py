"""KV pages of float16 or float32: K as (width, PAGE), lanes are positions; V as in
`kv_pages`, lanes are dimensions."""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_BYTES
from qrt.kernels.activations import stage
from qrt.kernels.addresses import prefetch_run
from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_halves,
    load_u16,
    load_wide,
    store,
    store_f16x16,
    store_f32,
    store_u16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_pages import dims_at_once
from qrt.kernels.layout import PAGE
from qrt.kernels.shuffles import repeat, repeat_each


def writers(kv_type: str) -> tuple[Any, Any]:
    """write_k, write_v (x, n, width, scratch, part, slot): n floats at x into their slot."""
    size, half, most = CACHE_BYTES[kv_type] // 32, kv_type == "f16", dims_at_once()

    @inline
    def convert(x, n, width, scratch):
        """n floats at x, and zeros up to width."""
        stage(x, n, 1.0, scratch)
        if half:
            for i in range(0, width, 16):
                store_f16x16(scratch + 2 * i, load_f32x16(scratch + 4 * i))

    @inline
    def put(source, n, target, stride):
        """n elements to where they lie, `stride` bytes apart."""
        for i in range(n):
            if half:
                store_u16(target + i * stride, load_u16(source + 2 * i))
            else:
                store_f32(target + i * stride, load_f32(source + 4 * i))

    @inline
    def write_k(x, n, width, scratch, part, slot):
        convert(x, n, width, scratch)
        put(scratch, width, part + slot * size, PAGE * size)

    @inline
    def write_v(x, n, width, scratch, part, slot):
        convert(x, n, width, scratch)
        for d in range(0, width, most):
            dims = min(most, width - d)
            put(scratch + d * size, dims, part + (PAGE * d + slot * dims) * size, size)

    return write_k, write_v


LOADS = {"f16": load_halves, "f32": load_wide}


def key_readers(kv_type: str, heads: int) -> tuple[Any, Any]:
    """put_query and scores for `heads` query heads at once; see `attend_page`."""
    size, slots = CACHE_BYTES[kv_type] // 32, 4 * register_lanes()
    load, each_key, each_query = LOADS[kv_type](slots), repeat_each(heads), repeat(slots // 16)
    nothing, each_head = zeros(slots * heads), each_of("f32", heads, 4)
    ask_for = prefetch_run(max(1, slots * size >> 6))

    @inline
    def put_query(queries, head, x, n, scale, staging):
        """Queries lie as (head_dim, heads)."""
        for d in range(n):
            store_f32(queries + 4 * (d * heads + head), load_f32(x + 4 * d) * scale)

    @inline
    def scores(queries, k, head_dim, out, ahead):
        for _ in range(0, PAGE, slots):
            total, at, x = nothing(), k, queries
            for _ in range(head_dim):
                ask_for(at, ahead)
                total = fma(each_key(load(at)), each_query(each_head(x)), total)
                at += PAGE * size
                x += 4 * heads
            store(out, total)
            k += slots * size
            out += 4 * slots * heads

    return put_query, scores


def column_reader(kv_type: str) -> tuple[Any, Any, int]:
    """columns_of, load_16 and the bytes of an element; see `values`."""
    size = CACHE_BYTES[kv_type] // 32

    @inline
    def columns_of(k, k_width, d, first, last, room):
        return k + d * PAGE * size

    return columns_of, {"f16": load_f16x16, "f32": load_f32x16}[kv_type], size


def value_reader(kv_type: str, heads: int, dims: int) -> Any:
    """add for `heads` query heads and `dims` dimensions at once; see `attend_page`."""
    size, load = CACHE_BYTES[kv_type] // 32, LOADS[kv_type](dims)
    each_value, each_weight = repeat_each(heads), repeat(dims // 16)

    @inline
    def add(total, weight, v, width, slot):
        values = each_value(load(v + slot * width * size))
        return fma(values, each_weight(weight), total)

    return add

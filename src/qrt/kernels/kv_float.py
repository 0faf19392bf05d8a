"""KV pages of float16 or float32: K as (width, PAGE), lanes are positions; V as (PAGE, width)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import stage
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    load_f16x16,
    load_f32,
    load_f32x16,
    load_u16,
    prefetch,
    repeat,
    store_f16x16,
    store_f32,
    store_u16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import KV_BYTES, PAGE


def writers(kv_type: str) -> tuple[Any, Any]:
    """write_k, write_v (x, n, width, scratch, part, slot): n floats at x into their slot."""
    size, half = KV_BYTES[kv_type] // 32, kv_type == "f16"

    @inline
    def write(x, n, width, scratch, target, stride):
        """n floats at x, and zeros up to width, to elements `stride` bytes apart."""
        stage(x, n, 1.0, scratch)
        if half:
            for i in range(0, width, 16):
                store_f16x16(scratch + 2 * i, load_f32x16(scratch + 4 * i))
        for i in range(width):
            if half:
                store_u16(target + i * stride, load_u16(scratch + 2 * i))
            else:
                store_f32(target + i * stride, load_f32(scratch + 4 * i))

    @inline
    def write_k(x, n, width, scratch, part, slot):
        write(x, n, width, scratch, part + slot * size, PAGE * size)

    @inline
    def write_v(x, n, width, scratch, part, slot):
        write(x, n, width, scratch, part + slot * width * size, size)

    return write_k, write_v


LOADS = {"f16": load_f16x16, "f32": load_f32x16}


def key_readers(kv_type: str, heads: int, ahead_bytes: int) -> tuple[Any, Any]:
    """put_query and scores for `heads` query heads at once; see `attention`."""
    size, load = KV_BYTES[kv_type] // 32, LOADS[kv_type]
    every, nothing, each_head = repeat(heads), zeros(16 * heads), each_of("f32", heads, 4)

    @inline
    def put_query(queries, head, x, n, scale, staging):
        """Queries lie as (head_dim, heads)."""
        for d in range(n):
            store_f32(queries + 4 * (d * heads + head), load_f32(x + 4 * d) * scale)

    @inline
    def scores(queries, k, head_dim, slot, ahead):
        near, far = nothing(), nothing()
        at, x = k + slot * size, queries
        for _ in range(head_dim):
            prefetch(ahead, 0)
            query = each_head(x)
            near = fma(every(load(at)), query, near)
            far = fma(every(load(at + 16 * size)), query, far)
            at += PAGE * size
            x += 4 * heads
            ahead += ahead_bytes
        return near, far, ahead

    return put_query, scores


def value_reader(kv_type: str, heads: int) -> Any:
    """add for `heads` query heads at once; see `attention`."""
    size, load, every = KV_BYTES[kv_type] // 32, LOADS[kv_type], repeat(heads)

    @inline
    def add(near, far, weight, v, width, slot, d):
        x = v + (slot * width + d) * size
        near = fma(every(load(x)), weight, near)
        return near, fma(every(load(x + 16 * size)), weight, far)

    return add

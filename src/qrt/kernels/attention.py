"""Causal attention over KV pages with an online softmax (Milakov and Gimelshein 2018).

A page holds PAGE positions of every kv head: a part for K, laid out so that lanes are positions in
q . k, then one for V, where lanes are dimensions in p . v. Rows have `width` values, head_dim
rounded up to 32. One thread takes one row and one kv head, with a few of the query heads that share
it, and walks the pages in order of position: the result depends on no threads or neighbours.

Vectors hold 16 lanes for each of those query heads. What depends on the type of the cache stands in
`kv_float` and `kv_q8_0`, in three parts: put_query stores one scaled query; scores gives q . k of
32 slots as two vectors; add takes on 32 dimensions of one slot's V times its weights.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels import kv_float, kv_q8_0
from qrt.kernels.intrinsics import (
    each_of,
    lane,
    load_f32,
    load_f32x16,
    load_i32,
    load_i64,
    load_wide,
    max_lanes,
    prefetch,
    splat_f32,
    store,
    store_f32,
    sum_lanes,
    vmax,
    within,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import ATTENTION, KV_BYTES, PAGE, SCRATCH, STEP, STORE_KV
from qrt.kernels.mathematics import vexp, vtanh

FAR_BELOW = -1e30
"""The score of a position that is not seen: its weight vanishes beside any other."""


@inline
def page_of(step, row, position, pages, page_stride):
    """The address of the page that holds a position of a row's sequence."""
    table = load_i64(load_i64(step + STEP.tables) + 8 * row)
    return pages + load_i32(table + 4 * (position // PAGE)) * page_stride


@inline
def padded(head_dim):
    return (head_dim + 31) & -32


def build_store(kv_type: str) -> Any:
    """Writes the k and v of every row into its page."""
    write_k, write_v = kv_q8_0.writers() if kv_type == "q8_0" else kv_float.writers(kv_type)
    kv_bytes = KV_BYTES[kv_type]

    def store_kv(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n_heads, head_dim = load_i64(args + STORE_KV.n_kv_heads), load_i64(args + STORE_KV.head_dim)
        pages, page_stride = load_i64(args + STORE_KV.pages), load_i64(args + STORE_KV.page_stride)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        width = padded(head_dim)
        part_bytes = PAGE * (width >> 5) * kv_bytes
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            position = load_i32(positions + 4 * row)
            page = page_of(step, row, position, pages, page_stride)
            slot = position % PAGE
            k = load_i64(args + STORE_KV.k) + 4 * row * n_heads * head_dim
            v = load_i64(args + STORE_KV.v) + 4 * row * n_heads * head_dim
            for _ in range(n_heads):
                write_k(k, head_dim, width, scratch, page, slot)
                write_v(v, head_dim, width, scratch, page + part_bytes, slot)
                page += 2 * part_bytes
                k += 4 * head_dim
                v += 4 * head_dim

    return store_kv


def build(kv_type: str, heads_at_once: str) -> Any:
    """The kernel for one cache type; `heads_at_once` query heads share each load of k and v."""
    heads, kv_bytes = int(heads_at_once), KV_BYTES[kv_type]
    parts = kv_q8_0.readers(heads) if kv_type == "q8_0" else kv_float.readers(kv_type, heads)
    put_query, scores_of, add = parts
    wide = 64 * heads  # bytes of one vector
    nothing, load_vector = zeros(16 * heads), load_wide(16 * heads)
    each_head, each_weight = each_of("f32", heads, 4), each_of("f32", heads, 64)

    queries, scores = 0, 16 * 1024
    sums, totals = 24 * 1024, 56 * 1024
    tops = totals + wide
    maxima, factors = tops + wide, tops + wide + 64

    @inline
    def gather(scratch, q, n_heads, head_dim, scale):
        """Scaled queries; heads past n_heads repeat the last."""
        for h in range(heads):
            x = q + 4 * head_dim * min(h, n_heads - 1)
            put_query(scratch + queries, h, x, head_dim, scale, scratch + sums)
            store_f32(scratch + maxima + 4 * h, FAR_BELOW)
        store(scratch + totals, nothing())

    @inline
    def score(scratch, k, head_dim, first, last, cap, ahead):
        """q . k of slots first .. last, 32 at a time, and the largest score of each head."""
        top = nothing() + FAR_BELOW
        for slot in range(first & -32, last + 1, 32):
            near, far, ahead = scores_of(scratch + queries, k, head_dim, slot, ahead)
            if cap > 0.0:
                near, far = cap * vtanh(near / cap), cap * vtanh(far / cap)
            near = within(slot, first, last, near, FAR_BELOW)
            far = within(slot + 16, first, last, far, FAR_BELOW)
            store(scratch + scores + (slot >> 4) * wide, near)
            store(scratch + scores + (slot >> 4) * wide + wide, far)
            top = vmax(top, vmax(near, far))
        store(scratch + tops, top)

    @inline
    def weigh(scratch, first, last):
        """Scores to weights against the largest score so far; what older sums shrink by."""
        for h in range(heads):
            before = load_f32(scratch + maxima + 4 * h)
            peak = max(before, max_lanes(load_f32x16(scratch + tops + 64 * h)))
            store_f32(scratch + maxima + 4 * h, peak)
            store_f32(scratch + factors + 4 * h, lane(vexp(splat_f32(before - peak)), 0))
        peaks, factor = each_head(scratch + maxima), each_head(scratch + factors)
        total = load_vector(scratch + totals) * factor
        for slot in range(first & -32, last + 1, 16):
            at = scratch + scores + (slot >> 4) * wide
            weight = vexp(load_vector(at) - peaks)
            store(at, weight)
            total = total + weight
        store(scratch + totals, total)

    @inline
    def gain(scratch, v, width, first, last, fresh, ahead):
        """sums = sums * factor + weights . v, 32 dimensions at a time."""
        factor = each_head(scratch + factors)
        for d in range(0, width, 32):
            at = scratch + sums + (d >> 4) * wide
            near, far = nothing(), nothing()
            if not fresh:
                near, far = load_vector(at) * factor, load_vector(at + wide) * factor
            for slot in range(first, last + 1):
                prefetch(ahead, 0)
                weight = each_weight(scratch + scores + (slot >> 4) * wide + 4 * (slot & 15))
                near, far = add(near, far, weight, v, width, slot, d)
                ahead += kv_bytes
            store(at, near)
            store(at + wide, far)

    @inline
    def finish(scratch, out, n_heads, head_dim):
        """out = sums / total for each head."""
        for h in range(n_heads):
            share = 1.0 / sum_lanes(load_f32x16(scratch + totals + 64 * h))
            for d in range(0, head_dim, 16):
                value = load_f32x16(scratch + sums + (d >> 4) * wide + 64 * h) * share
                if d + 16 <= head_dim:
                    store(out + 4 * d, value)
                else:
                    for i in range(head_dim - d):
                        store_f32(out + 4 * (d + i), lane(value, i))
            out += 4 * head_dim

    def attention(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n_heads = load_i64(args + ATTENTION.n_heads)
        n_kv_heads = load_i64(args + ATTENTION.n_kv_heads)
        head_dim = load_i64(args + ATTENTION.head_dim)
        page_stride = load_i64(args + ATTENTION.page_stride)
        scale, cap = load_f32(args + ATTENTION.scale), load_f32(args + ATTENTION.softcap)
        window, pages = load_i64(args + ATTENTION.window), load_i64(args + ATTENTION.pages)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        shared, width = n_heads // n_kv_heads, padded(head_dim)
        part_bytes = PAGE * (width >> 5) * kv_bytes
        n_parts = (shared + heads - 1) // heads  # of the query heads of one kv head
        for unit in range(thread, n_kv_heads * n_parts * n_rows, n_threads):
            row, part = unit % n_rows, unit // n_rows
            kv_head, member = part // n_parts, part % n_parts * heads
            position = load_i32(positions + 4 * row)
            first = max(0, position - window + 1) if window else 0
            at = 4 * ((row * n_heads) + kv_head * shared + member) * head_dim
            n_here = min(heads, shared - member)
            gather(scratch, load_i64(args + ATTENTION.q) + at, n_here, head_dim, scale)
            start = first // PAGE * PAGE
            head_pages = pages + 2 * kv_head * part_bytes
            k = page_of(step, row, start, head_pages, page_stride)
            for base in range(start, position + 1, PAGE):
                low, high = max(0, first - base), min(PAGE - 1, position - base)
                following = page_of(step, row, min(base + PAGE, position), head_pages, page_stride)
                score(scratch, k, head_dim, low, high, cap, k + part_bytes)
                weigh(scratch, low, high)
                gain(scratch, k + part_bytes, width, low, high, base == start, following)
                k = following
            finish(scratch, load_i64(args + ATTENTION.out) + at, n_here, head_dim)

    return attention

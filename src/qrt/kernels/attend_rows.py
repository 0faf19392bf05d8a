"""Attention of each row to all rows of its segment, with an online softmax, see `softmax`.

A thread takes some rows of a segment and one kv head. It walks the segment's rows by pages: K of a
page is turned, so that lanes are positions in q . k, V is copied, so that lanes are dimensions in
p . v; then a few rows of one query head at a time take the page on. Each row walks its pages from
its first to its last, whatever rows are beside it. A segment begins where a position is 0.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import padded
from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import (
    each_of,
    each_run,
    fma,
    load_f32,
    load_i32,
    load_i64,
    load_rows,
    load_wide,
    scatter,
    store,
    store_f32,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_pages import dims_at_once
from qrt.kernels.layout import ATTEND_ROWS, MAX_ROWS_DIM, PAGE, SCRATCH, STEP
from qrt.kernels.rows import copy, scale_row
from qrt.kernels.shuffles import repeat, repeat_each, turned
from qrt.kernels.softmax import SCORES, settle_of, softmax_of
from qrt.kernels.values import some_dims

MOST_ROWS, MOST_HEADS = 128, 8
"""Rows of a segment that a thread takes at a time, where their states fit, and query heads of a kv
head."""
QUERY = 4 * (MAX_ROWS_DIM + 16)
"""Bytes from one scaled query to the next, which share no cache set."""
KEYS = 20 * 1024
"""Where K of a page lies in a thread's scratch memory; V and the states follow."""


def build() -> Any:
    count = 4 if register_lanes() == 16 else 2  # rows at once
    slots = 4 * register_lanes()
    state_bytes, begin, weigh, _, finish, factors, sums = softmax_of(count)
    most = dims_at_once()
    gain_most, gain_rest = (some_dims("f32", count, dims, ask=False) for dims in (most, 32))
    wide = 64 * count
    no_scores, load_keys, each_key = zeros(slots * count), load_wide(slots), repeat_each(count)
    each_query, every = each_of("f32", count, QUERY), repeat(slots // 16)
    biases, load_block, columns = each_run(count, -4), load_rows("i32"), turned(4)

    @inline
    def turn_keys(k, stride, width, n, page):
        """K of n rows `stride` bytes apart as (width, PAGE)."""
        for slot in range(0, n & -16, 16):
            for d in range(0, width & -4, 4):
                block = load_block(k + slot * stride + 4 * d, stride)
                scatter(page + 4 * (PAGE * d + slot), 4 * PAGE, columns(block))
            for i in range(slot, slot + 16):
                for d in range(width & -4, width):
                    store_f32(page + 4 * (PAGE * d + i), load_f32(k + i * stride + 4 * d))
        for i in range(n & -16, n):
            for d in range(width):
                store_f32(page + 4 * (PAGE * d + i), load_f32(k + i * stride + 4 * d))

    @inline
    def copy_values(v, stride, width, n, page):
        """V of n rows as (PAGE, padded width), the padding zeros."""
        for i in range(n):
            row = page + 4 * i * padded(width)
            copy(v + i * stride, row, width)
            for d in range(width, padded(width)):
                store_f32(row + 4 * d, 0.0)

    @inline
    def biased(value, slot, bias, back):
        return value + biases(bias + 4 * slot) if bias else value

    settle = settle_of(count, biased)

    @inline
    def score(scratch, keys, width, first, last, bias, cap):
        """q . k of slots first .. last, and the largest of each query."""
        k, out = keys, scratch + SCORES
        for _ in range(0, last + 1, slots):
            total, at, x = no_scores(), k, scratch
            for _ in range(width):
                total = fma(each_key(load_keys(at)), every(each_query(x)), total)
                at += 4 * PAGE
                x += 4
            store(out, total)
            k += 4 * slots
            out += 4 * slots * count
        settle(scratch, first, last, cap, bias, 0)

    @inline
    def gain(scratch, values, state, width, first, last, fresh):
        """Weighted values of slots first .. last, added to the sums."""
        weights, shrink, at = scratch + SCORES, scratch + factors, state + sums
        for _ in range(0, width - most + 1, most):
            gain_most(weights, shrink, at, values, width, first, last, fresh, 0, 0)
            at += (most >> 4) * wide
            values += 4 * most
        if width % most:
            gain_rest(weights, shrink, at, values, width, first, last, fresh, 0, 0)

    @inline
    def attend(step, args, scratch, segment, n, kv_head, first_head, heads, start, end):
        """Rows start .. end - 1 of a segment of n rows, some query heads of one kv head."""
        n_heads = load_i64(args + ATTEND_ROWS.n_heads)
        n_kv_heads = load_i64(args + ATTEND_ROWS.n_kv_heads)
        k_width = load_i64(args + ATTEND_ROWS.k_width)
        v_width = load_i64(args + ATTEND_ROWS.v_width)
        scale, cap = load_f32(args + ATTEND_ROWS.scale), load_f32(args + ATTEND_ROWS.softcap)
        reach, table = load_i64(args + ATTEND_ROWS.reach), load_i64(args + ATTEND_ROWS.bias)
        bias_stride = load_i64(args + ATTEND_ROWS.bias_stride)
        layer = load_i64(args + ATTEND_ROWS.layer)
        width = padded(v_width)
        k_stride, v_stride = 4 * n_kv_heads * k_width, 4 * n_kv_heads * v_width
        k = load_i64(args + ATTEND_ROWS.k) + segment * k_stride + 4 * kv_head * k_width
        v = load_i64(args + ATTEND_ROWS.v) + segment * v_stride + 4 * kv_head * v_width
        q = load_i64(args + ATTEND_ROWS.q) + 4 * k_width * (segment * n_heads + first_head)
        out = load_i64(args + ATTEND_ROWS.out)
        out += 4 * v_width * (segment * n_heads + first_head)
        keys = scratch + KEYS
        values = keys + 4 * PAGE * k_width
        states, size = values + 4 * PAGE * width, state_bytes(width)
        for base in range(max(0, start - reach) // PAGE * PAGE, min(n, end + reach), PAGE):
            here = min(PAGE, n - base)
            turn_keys(k + base * k_stride, k_stride, k_width, here, keys)
            copy_values(v + base * v_stride, v_stride, v_width, here, values)
            state = states
            for row in range(start, end, count):
                first, last = max(0, row - reach), min(n, row + count + reach) - 1
                fresh = base == first // PAGE * PAGE
                low, high = max(0, first - base), min(here - 1, last - base)
                for head in range(heads):
                    if low <= high:
                        for i in range(count):
                            source = min(row + i, n - 1) * n_heads + head
                            target = scratch + QUERY * i
                            scale_row(q + 4 * k_width * source, target, target, k_width, scale)
                        bias = table
                        if table:
                            at = load_i64(args + ATTEND_ROWS.span) + base - row
                            bias += (first_head + head) * bias_stride + 4 * at
                        if fresh:
                            begin(state)
                        score(scratch, keys, k_width, low, high, bias, cap)
                        weigh(scratch, state, low, high)
                        gain(scratch, values, state, width, low, high, fresh)
                    state += size
        state, stride = states, 4 * n_heads * v_width
        for row in range(start, end, count):
            for head in range(heads):
                at = out + row * stride + 4 * head * v_width
                finish(state, at, stride, min(count, end - row), v_width, 0, step, layer)
                state += size

    def attend_rows(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n_kv_heads = load_i64(args + ATTEND_ROWS.n_kv_heads)
        shared = load_i64(args + ATTEND_ROWS.n_heads) // n_kv_heads
        k_width = load_i64(args + ATTEND_ROWS.k_width)
        width = padded(load_i64(args + ATTEND_ROWS.v_width))
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        room = SCRATCH - KEYS - 4 * PAGE * (k_width + width)
        fit = room // (min(shared, MOST_HEADS) * state_bytes(width))
        at_once, n_parts = min(MOST_ROWS, fit * count), (shared + MOST_HEADS - 1) // MOST_HEADS
        segment, unit = 0, 0
        while segment < n_rows:
            end = segment + 1
            while end < n_rows and load_i32(positions + 4 * end):
                end += 1
            n = end - segment
            for start in range(0, n, at_once):
                last = min(n, start + at_once)
                for head in range(n_kv_heads * n_parts):
                    kv_head, member = head // n_parts, head % n_parts * MOST_HEADS
                    if unit % n_threads == thread:
                        first, here = kv_head * shared + member, min(MOST_HEADS, shared - member)
                        attend(step, args, scratch, segment, n, kv_head, first, here, start, last)
                    unit += 1
            segment = end

    return attend_rows

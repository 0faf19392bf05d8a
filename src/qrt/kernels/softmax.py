"""The online softmax of attention (Milakov and Gimelshein 2018), for a few queries at once.

A state holds, for queries that share loads of keys and values, the largest score so far, the sum of
weights lane by lane, and the weighted sums of values. Vectors hold 16 lanes for each query. A page
is taken on in three steps: its scores are written to the scratch memory, with the largest of each
query, see `settle_of`; `weigh` makes weights of them; values times weights are added to the sums.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from qrt.kernels.intrinsics import (
    each_of,
    fma,
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    load_wide,
    max_lanes,
    splat_f32,
    store,
    store_f32,
    store_i64,
    sum_lanes,
    vmax,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import FAR_BELOW, STEP
from qrt.kernels.mathematics import softcap, vexp
from qrt.kernels.shuffles import within

SCORES, TOPS = 16 * 1024, 18 * 1024
"""In a thread's scratch memory: the scores of a page, (PAGE / 16, queries, 16), and the largest of
each query in each of 16 lanes."""
TOTALS = 64
"""Bytes from a state, which begins with the largest scores, to its sums of weights."""

Parts = namedtuple("Parts", "state_bytes begin weigh merge finish factors sums")


def settle_of(count: int, biased: Any) -> Any:
    """settle(scratch, first, last, cap, bias, back): what q . k of slots first .. last becomes.

    It is capped, 16 slots of `count` queries are handed to biased(value, slot, bias, back), other
    slots get FAR_BELOW; the largest score of each query is left at TOPS.
    """
    wide = 64 * count
    nothing, load_vector = zeros(16 * count), load_wide(16 * count)

    @inline
    def settle(scratch, first, last, cap, bias, back):
        top = nothing() + FAR_BELOW
        for slot in range(first & -16, last + 1, 16):
            at = scratch + SCORES + (slot >> 4) * wide
            value = load_vector(at)
            if cap > 0.0:
                value = softcap(value, cap)
            value = within(slot, first, last, biased(value, slot, bias, back), FAR_BELOW)
            store(at, value)
            top = vmax(top, value)
        store(scratch + TOPS, top)

    return settle


def softmax_of(count: int) -> Parts:
    """The parts of kernels for `count` queries at once.

    state_bytes(width) is the size of a state, begin(state) makes it one of no positions.
    weigh(scratch, state, first, last) takes on the scores of slots first .. last; at `factors` of
    the scratch memory it leaves what older sums shrink by, which lie at `sums` of a state.
    merge(scratch, state, other, width) adds a state of later positions. finish(state, out, stride,
    n, v_width, sinks, step, layer) writes the first n queries, `stride` bytes apart; a value that
    is not finite is a fault of the layer.
    """
    wide = 64 * count
    sums, factors = TOTALS + wide, TOPS + wide
    others = factors + 64
    nothing, load_vector = zeros(16 * count), load_wide(16 * count)
    nothing_16, each_query = zeros(16), each_of("f32", count, 4)

    @inline
    def state_bytes(width):
        return sums + (width >> 4) * wide

    @inline
    def begin(state):
        for i in range(count):
            store_f32(state + 4 * i, FAR_BELOW)
        store(state + TOTALS, nothing())

    @inline
    def weigh(scratch, state, first, last):
        """vexp has a value for everything: what is not finite stays so by the added `value * 0`."""
        for i in range(count):
            before = load_f32(state + 4 * i)
            peak = max(before, max_lanes(load_f32x16(scratch + TOPS + 64 * i)))
            store_f32(state + 4 * i, peak)
            store_f32(scratch + factors + 4 * i, lane(vexp(splat_f32(before - peak)), 0))
        peaks, factor = each_query(state), each_query(scratch + factors)
        total = load_vector(state + TOTALS) * factor
        for slot in range(first & -16, last + 1, 16):
            at = scratch + SCORES + (slot >> 4) * wide
            value = load_vector(at)
            weight = vexp(value - peaks) + value * 0.0
            store(at, weight)
            total = total + weight
        store(state + TOTALS, total)

    @inline
    def merge(scratch, state, other, width):
        for i in range(count):
            before, after = load_f32(state + 4 * i), load_f32(other + 4 * i)
            peak = max(before, after)
            store_f32(state + 4 * i, peak)
            store_f32(scratch + factors + 4 * i, lane(vexp(splat_f32(before - peak)), 0))
            store_f32(scratch + others + 4 * i, lane(vexp(splat_f32(after - peak)), 0))
        ours, theirs = each_query(scratch + factors), each_query(scratch + others)
        for at in range(TOTALS, state_bytes(width), wide):
            store(state + at, load_vector(state + at) * ours + load_vector(other + at) * theirs)

    @inline
    def finish(state, out, stride, n, v_width, sinks, step, layer):
        """A sink is one more score, which takes its part of the total and has no value."""
        doubt = nothing_16()
        for i in range(n):
            total, factor = sum_lanes(load_f32x16(state + TOTALS + 64 * i)), 1.0
            if sinks:
                most, sink = load_f32(state + 4 * i), load_f32(sinks + 4 * i)
                peak = max(most, sink)
                factor = lane(vexp(splat_f32(most - peak)), 0)
                total = total * factor + lane(vexp(splat_f32(sink - peak)), 0) + sink * 0.0
            share = factor / total
            for d in range(0, v_width, 16):
                value = load_f32x16(state + sums + (d >> 4) * wide + 64 * i) * share
                doubt = fma(value, 0.0, doubt)
                if d + 16 <= v_width:
                    store(out + 4 * d, value)
                else:
                    for j in range(v_width - d):
                        store_f32(out + 4 * (d + j), lane(value, j))
            out += stride
        if sum_lanes(doubt) != 0.0 and load_i64(step + STEP.fault) == 0:
            store_i64(step + STEP.fault, layer + 1)

    return Parts(state_bytes, begin, weigh, merge, finish, factors, sums)

"""Causal attention over KV pages with an online softmax, see `softmax`.

A page holds PAGE positions of every kv head: a part for K, laid out so that lanes are positions in
q . k, then one for V, where lanes are dimensions in p . v; rows are rounded up to 32 values. A
thread takes one row and one kv head, with a few of the query heads that share
it, and walks the pages in order of position. After SPLIT positions it begins anew, and the states
of all splits are merged in order: those of a few rows are shared out among threads, those of many
rows belong to one thread each, and the result depends on no threads or neighbours.

Vectors hold 16 lanes for each of those query heads. What depends on the type of the cache stands in
`kv_float` and `kv_blocks`. For K: put_query stores one scaled query; scores writes q . k of all
slots of a page, 16 slots of every head at a time, and meanwhile asks for what comes next, V or
another page, `ahead_bytes` for every 32 values. For V: add takes on `dims` dimensions of one slot
times its weights; column_reader is for V that is in K, see `values`.
"""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_BYTES
from qrt.kernels.activations import padded
from qrt.kernels.intrinsics import (
    each_of,
    fetch_add,
    load_f32,
    load_i32,
    load_i64,
    load_wide,
    store,
    store_f32,
    store_i64,
    vmax,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_caches import CACHES
from qrt.kernels.layout import (
    ATTENTION,
    DECODED,
    ENCODED,
    FAR,
    FAR_BELOW,
    PAGE,
    SCRATCH,
    SHARED_ROWS,
    SPLIT,
    STEP,
)
from qrt.kernels.mathematics import softcap
from qrt.kernels.rows import page_of
from qrt.kernels.shuffles import count_lanes, within
from qrt.kernels.softmax import SCORES, TOPS, softmax_of
from qrt.kernels.values import beside_keys, in_keys


def build(k_type: str, v_type: str, heads_at_once: str, bias: str = "") -> Any:
    """The kernel for one type of K and one of V, "k" for V that is in K; `heads_at_once` query
    heads share each load.

    With `bias` "alibi" scores lose a slope for each position of distance (Press et al. 2022); with
    "learned", which is for one head at once, they gain what a table has (Raffel et al. 2020).
    """
    alibi, learned, v_in_k = bias == "alibi", bias == "learned", v_type == "k"
    assert heads_at_once == "1" or not learned
    heads, k_bytes, v_bytes = int(heads_at_once), CACHE_BYTES[k_type], CACHE_BYTES.get(v_type, 0)
    put_query, scores_of = CACHES[k_type].key_readers(k_type, heads, v_bytes or k_bytes)
    gain = in_keys(k_type, heads) if v_in_k else beside_keys(k_type, v_type, heads)
    wide = 64 * heads  # bytes of one vector
    nothing, load_vector = zeros(16 * heads), load_wide(16 * heads)
    each_head, lane_numbers = each_of("f32", heads, 4), count_lanes(16 * heads)
    state_bytes, begin, weigh, merge, finish, factors, sums = softmax_of(heads)

    # of a thread's scratch
    queries, bias_at = 0, factors + 128
    state_at, other_at, room_at = 20 * 1024, 40 * 1024, 60 * 1024

    @inline
    def gather(scratch, q, bias, n_heads, k_width, scale):
        """Scaled queries, and their slopes or table; heads past n_heads repeat the last."""
        for h in range(heads):
            head = min(h, n_heads - 1)
            put_query(
                scratch + queries, h, q + 4 * k_width * head, k_width, scale, scratch + other_at
            )
            if alibi:
                store_f32(scratch + bias_at + 4 * h, load_f32(bias + 4 * head))
        if learned:
            store_i64(scratch + bias_at, bias)

    @inline
    def score(scratch, k, k_width, first, last, back, cap, ahead):
        """q . k of slots first .. last, 16 at a time, and the largest score of each head.

        `back` is how far slot 0 lies behind the query.
        """
        scores_of(scratch + queries, k, k_width, scratch + SCORES, ahead)
        top = nothing() + FAR_BELOW
        for slot in range(first & -16, last + 1, 16):
            at = scratch + SCORES + (slot >> 4) * wide
            value = load_vector(at)
            if cap > 0.0:
                value = softcap(value, cap)
            if alibi:
                distance = (back - slot) - lane_numbers()
                value = value - each_head(scratch + bias_at) * distance
            if learned:
                at_distance = load_i64(scratch + bias_at) + 4 * (FAR - min(back - slot, FAR))
                value = value + load_vector(at_distance)
            value = within(slot, first, last, value, FAR_BELOW)
            store(at, value)
            top = vmax(top, value)
        store(scratch + TOPS, top)

    @inline
    def walk(scratch, state, step, row, args, pages, first, last, position, cap):
        """The state after positions first .. last, for the queries of `position` in scratch."""
        group, page_stride = (
            load_i64(args + ATTENTION.group),
            load_i64(args + ATTENTION.page_stride),
        )
        k_width, width = (
            load_i64(args + ATTENTION.k_width),
            padded(load_i64(args + ATTENTION.v_width)),
        )
        k_part = PAGE * (padded(k_width) >> 5) * k_bytes
        begin(state)
        start = first // PAGE * PAGE
        k = page_of(step, group, row, start, pages, page_stride)
        for base in range(start, last + 1, PAGE):
            low, high = max(0, first - base), min(PAGE - 1, last - base)
            following = page_of(step, group, row, min(base + PAGE, last), pages, page_stride)
            ahead = following if v_in_k else k + k_part
            score(scratch, k, k_width, low, high, position - base, cap, ahead)
            weigh(scratch, state, low, high)
            weights, sums_at, fresh = scratch + SCORES, state + sums, base == start
            gain(
                weights, scratch + factors, sums_at, k, k_width, width, low, high, fresh,
                following, scratch + room_at,
            )  # fmt: skip
            k = following

    @inline
    def splits_of(step, n_rows):
        """Splits of the longest of a few rows; 1 for many rows, which keep all threads busy."""
        positions, longest = load_i64(step + STEP.positions), 0
        if n_rows <= SHARED_ROWS:
            for row in range(n_rows):
                longest = max(longest, load_i32(positions + 4 * row))
        return longest // SPLIT + 1

    def attention(step, args, thread, n_threads):
        n_rows, positions = load_i64(step + STEP.n_rows), load_i64(step + STEP.positions)
        n_heads = load_i64(args + ATTENTION.n_heads)
        n_kv_heads = load_i64(args + ATTENTION.n_kv_heads)
        k_width, v_width = load_i64(args + ATTENTION.k_width), load_i64(args + ATTENTION.v_width)
        layer = load_i64(args + ATTENTION.layer)
        scale, cap = load_f32(args + ATTENTION.scale), load_f32(args + ATTENTION.softcap)
        window, chunked = load_i64(args + ATTENTION.window), load_i64(args + ATTENTION.chunked)
        bias, sinks = load_i64(args + ATTENTION.bias), load_i64(args + ATTENTION.sinks)
        bias_stride, sees = load_i64(args + ATTENTION.bias_stride), load_i64(args + ATTENTION.sees)
        encoded = load_i64(step + STEP.encoded)
        partials = load_i64(args + ATTENTION.partials)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        state, other = scratch + state_at, scratch + other_at
        shared, width = n_heads // n_kv_heads, padded(v_width)
        head_bytes = PAGE * ((padded(k_width) >> 5) * k_bytes + (width >> 5) * v_bytes)
        n_parts = (shared + heads - 1) // heads  # of the query heads of one kv head
        n_splits = splits_of(step, n_rows)
        for unit in range(thread, n_kv_heads * n_parts * n_rows * n_splits, n_threads):
            split, group = unit % n_splits, unit // n_splits
            row, part = group % n_rows, group // n_rows
            kv_head, member = part // n_parts, part % n_parts * heads
            last = load_i32(positions + 4 * row)
            first = max(0, last - window + 1) if window else 0
            if chunked:
                first = last // window * window
            if sees == ENCODED:
                last = load_i32(encoded + 4 * row) - 1
            elif sees == DECODED:
                first = load_i32(encoded + 4 * row)
            low, high = first // SPLIT, last // SPLIT
            if n_splits > 1 and (split < low or split > high):
                continue
            head = kv_head * shared + member
            at = 4 * (row * n_heads + head)
            n_here = min(heads, shared - member)
            out = load_i64(args + ATTENTION.out) + at * v_width
            pages = load_i64(args + ATTENTION.pages) + kv_head * head_bytes
            q, sinks_here = load_i64(args + ATTENTION.q) + at * k_width, sinks + 4 * head
            if not sinks:
                sinks_here = 0
            gather(scratch, q, bias + head * bias_stride, n_here, k_width, scale)
            if n_splits == 1 or low == high:
                end = min(last, low * SPLIT + SPLIT - 1)
                walk(scratch, state, step, row, args, pages, first, end, last, cap)
                for s in range(low + 1, high + 1):
                    start, end = s * SPLIT, min(last, s * SPLIT + SPLIT - 1)
                    walk(scratch, other, step, row, args, pages, start, end, last, cap)
                    merge(scratch, state, other, width)
                finish(state, out, 4 * v_width, n_here, v_width, sinks_here, step, layer)
            else:
                counter = partials + 8 * group
                states = partials + SHARED_ROWS * 8 * n_kv_heads * n_parts
                states += group * n_splits * state_bytes(width)
                mine = states + split * state_bytes(width)
                start, end = max(first, split * SPLIT), min(last, split * SPLIT + SPLIT - 1)
                walk(scratch, mine, step, row, args, pages, start, end, last, cap)
                if fetch_add(counter, 1) == high - low:  # the last to come puts all together
                    store_i64(counter, 0)
                    earliest = states + low * state_bytes(width)
                    for s in range(low + 1, high + 1):
                        merge(scratch, earliest, states + s * state_bytes(width), width)
                    finish(earliest, out, 4 * v_width, n_here, v_width, sinks_here, step, layer)

    return attention

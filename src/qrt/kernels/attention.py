"""Causal attention over KV pages with an online softmax, see `softmax` and `attend_page`.

A page holds PAGE positions of every kv head: a part for K, laid out so that lanes are positions in
q . k, then one for V, where lanes are dimensions in p . v; rows are rounded up to 32 values. A few
query heads that share a kv head form a group, which walks the pages in order of position. After a
split it begins anew, and the states of all splits are merged in order. A split is SPLIT positions,
or twice as many as often as it takes for MOST_SPLITS to be as many as a row sees.

Many rows belong to one thread each. Of a few rows threads share the splits, each for all groups or
some: page by page, so that memory is read in the order in which it lies, and a page once for all
groups of its heads. The result depends on no threads or neighbours.
"""

from __future__ import annotations

from typing import Any

from qrt.formats.cache_types import CACHE_BYTES
from qrt.kernels.activations import padded
from qrt.kernels.attend_page import VALUES, page_of_heads
from qrt.kernels.intrinsics import fetch_add, load_f32, load_i32, load_i64, store_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import (
    ATTENTION,
    DECODED,
    ENCODED,
    MOST_SPLITS,
    PAGE,
    SCRATCH,
    SHARED_ROWS,
    SPLIT,
    STEP,
)
from qrt.kernels.rows import page_of
from qrt.kernels.softmax import softmax_of

STATE = VALUES + 64 * 1024
QUERIES = STATE + 40 * 1024
"""Where in a thread's scratch memory two states lie, and then queries."""


def build(k_type: str, v_type: str, heads_at_once: str, bias: str = "") -> Any:
    """The kernel for one type of K and one of V, "k" for V that is in K; `heads_at_once` query
    heads share each load.

    With `bias` "alibi" scores lose a slope for each position of distance (Press et al. 2022); with
    "learned", which is for one head at once, they gain what a table has (Raffel et al. 2020).
    """
    assert heads_at_once == "1" or bias != "learned"
    heads, k_bytes, v_bytes = int(heads_at_once), CACHE_BYTES[k_type], CACHE_BYTES.get(v_type, 0)
    softmax = softmax_of(heads)
    state_bytes, begin, merge = softmax.state_bytes, softmax.begin, softmax.merge
    query_bytes, gather, take = page_of_heads(k_type, v_type, heads, bias, softmax)

    @inline
    def parts_of(args):
        """Groups of one kv head."""
        shared = load_i64(args + ATTENTION.n_heads) // load_i64(args + ATTENTION.n_kv_heads)
        return (shared + heads - 1) // heads

    @inline
    def heads_of(args, group):
        """The first query head of a group, and how many it has."""
        shared = load_i64(args + ATTENTION.n_heads) // load_i64(args + ATTENTION.n_kv_heads)
        n_parts = parts_of(args)
        before = group % n_parts * heads
        return group // n_parts * shared + before, min(heads, shared - before)

    @inline
    def ready(step, args, scratch, query, row, group):
        """Puts the queries of a group where a walk wants them."""
        n_heads, k_width = load_i64(args + ATTENTION.n_heads), load_i64(args + ATTENTION.k_width)
        head, n_here = heads_of(args, group)
        q = load_i64(args + ATTENTION.q) + 4 * (row * n_heads + head) * k_width
        slopes = load_i64(args + ATTENTION.bias) + head * load_i64(args + ATTENTION.bias_stride)
        gather(query, scratch, q, slopes, n_here, k_width, load_f32(args + ATTENTION.scale))

    @inline
    def finish(step, args, state, row, group):
        """Writes what the heads of a group attend to."""
        n_heads, v_width = load_i64(args + ATTENTION.n_heads), load_i64(args + ATTENTION.v_width)
        head, n_here = heads_of(args, group)
        out = load_i64(args + ATTENTION.out) + 4 * (row * n_heads + head) * v_width
        sinks = load_i64(args + ATTENTION.sinks)
        if sinks:
            sinks += 4 * head
        layer = load_i64(args + ATTENTION.layer)
        softmax.finish(state, out, 4 * v_width, n_here, v_width, sinks, step, layer)

    @inline
    def span(step, args, row):
        """The first and the last position that a row sees."""
        position = load_i32(load_i64(step + STEP.positions) + 4 * row)
        window, sees = load_i64(args + ATTENTION.window), load_i64(args + ATTENTION.sees)
        first, last = max(0, position - window + 1) if window else 0, position
        if load_i64(args + ATTENTION.chunked):
            first = position // window * window
        if sees == ENCODED:
            last = load_i32(load_i64(step + STEP.encoded) + 4 * row) - 1
        elif sees == DECODED:
            first = load_i32(load_i64(step + STEP.encoded) + 4 * row)
        return first, last

    @inline
    def splits_of(first, last):
        """The length of the splits of what a row sees, the numbers of the first and the last."""
        length = SPLIT
        while length * MOST_SPLITS <= last - first:
            length *= 2
        return length, first // length, last // length

    @inline
    def walk(step, args, scratch, states, row, first_group, n_groups, first, last, then):
        """The states of some groups after positions first .. last of what `row` sees; `then` is a
        position of what is walked next.
        """
        k_width = load_i64(args + ATTENTION.k_width)
        width = padded(load_i64(args + ATTENTION.v_width))
        tables = load_i64(args + ATTENTION.group)
        page_stride = load_i64(args + ATTENTION.page_stride)
        head_bytes = PAGE * ((padded(k_width) >> 5) * k_bytes + (width >> 5) * v_bytes)
        cap, n_parts = load_f32(args + ATTENTION.softcap), parts_of(args)
        first_head, last_head = first_group // n_parts, (first_group + n_groups - 1) // n_parts
        pages = load_i64(args + ATTENTION.pages) + first_head * head_bytes
        position = load_i32(load_i64(step + STEP.positions) + 4 * row)
        for i in range(n_groups):
            begin(states + i * state_bytes(width))
        start = first // PAGE * PAGE
        here = page_of(step, tables, row, start, pages, page_stride)
        for base in range(start, last + 1, PAGE):
            low, high = max(0, first - base), min(PAGE - 1, last - base)
            next_at = base + PAGE if base + PAGE <= last else then
            next_page = page_of(step, tables, row, next_at, pages, page_stride)
            for i in range(n_groups):
                head = (first_group + i) // n_parts
                k = here + (head - first_head) * head_bytes
                following = next_page if head == last_head else k + head_bytes
                take(
                    scratch, states + i * state_bytes(width), query_at(scratch, args, i), k,
                    k_width, width, low, high, position - base, cap, base == start, following,
                )  # fmt: skip
            here = next_page

    @inline
    def query_at(scratch, args, i):
        return scratch + QUERIES + i * query_bytes(load_i64(args + ATTENTION.k_width))

    @inline
    def whole_row(step, args, scratch, row, group):
        """All splits of a row, for one group."""
        first, last = span(step, args, row)
        width = padded(load_i64(args + ATTENTION.v_width))
        state, other = scratch + STATE, scratch + STATE + state_bytes(width)
        length, low, high = splits_of(first, last)
        ready(step, args, scratch, query_at(scratch, args, 0), row, group)
        for split in range(low, high + 1):
            start, end = max(first, split * length), min(last, (split + 1) * length - 1)
            into = state if split == low else other
            walk(step, args, scratch, into, row, group, 1, start, end, min(last, end + 1))
            if split > low:
                merge(scratch, state, other, width)
        finish(step, args, state, row, group)

    @inline
    def one_split(step, args, scratch, row, split, first_group, n_groups, skip):
        """One of a row's splits, the first is 0, for some groups; the last to come of a row puts
        all its splits together. `skip`: how many splits further the thread goes on.
        """
        first, last = span(step, args, row)
        length, low, high = splits_of(first, last)
        if split > high - low:
            return
        width = padded(load_i64(args + ATTENTION.v_width))
        partials = load_i64(args + ATTENTION.partials)
        all_groups = load_i64(args + ATTENTION.n_kv_heads) * parts_of(args)
        size, at = state_bytes(width), row * all_groups + first_group
        states = partials + 8 * SHARED_ROWS * all_groups
        for i in range(n_groups):
            ready(step, args, scratch, query_at(scratch, args, i), row, first_group + i)
        begins = (low + split) * length
        start, end = max(first, begins), min(last, begins + length - 1)
        then = min(last, begins + skip * length)
        mine = states + (split * SHARED_ROWS * all_groups + at) * size
        walk(step, args, scratch, mine, row, first_group, n_groups, start, end, then)
        counter = partials + 8 * at
        if fetch_add(counter, 1) < high - low:
            return
        store_i64(counter, 0)
        for i in range(n_groups):
            earliest = states + (at + i) * size
            for s in range(1, high - low + 1):
                other = states + (s * SHARED_ROWS * all_groups + at + i) * size
                merge(scratch, earliest, other, width)
            finish(step, args, earliest, row, first_group + i)

    def attention(step, args, thread, n_threads):
        n_rows = load_i64(step + STEP.n_rows)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        all_groups = load_i64(args + ATTENTION.n_kv_heads) * parts_of(args)
        if n_rows > SHARED_ROWS:
            for unit in range(thread, all_groups * n_rows, n_threads):
                whole_row(step, args, scratch, unit % n_rows, unit // n_rows)
        else:
            n_splits = 1
            for row in range(n_rows):
                first, last = span(step, args, row)
                _, low, high = splits_of(first, last)
                n_splits = max(n_splits, high - low + 1)
            room = (SCRATCH - QUERIES) // query_bytes(load_i64(args + ATTENTION.k_width))
            wanted = max(1, all_groups * n_rows * n_splits // (4 * n_threads))
            groups = min(all_groups, min(room, wanted))
            n_sets = (all_groups + groups - 1) // groups
            for unit in range(thread, n_sets * n_rows * n_splits, n_threads):
                one_split(
                    step, args, scratch, unit // n_sets // n_splits, unit // n_sets % n_splits,
                    unit % n_sets * groups, min(groups, all_groups - unit % n_sets * groups),
                    n_threads // n_sets,
                )  # fmt: skip

    return attention

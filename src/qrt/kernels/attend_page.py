"""One page taken on by the queries of a few heads that share a kv head, with an online softmax.

Vectors hold 16 lanes for each of those query heads. What depends on the type of the cache stands in
`kv_float` and `kv_blocks`. For K: put_query stores one scaled query; scores writes q . k of all
slots of a page, 16 slots of every head at a time, and asks for what lies `ahead` bytes further.
For V: add takes on `dims` dimensions of one slot times its weights; column_reader is for V that is
in K, see `values`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from qrt.kernels.activations import padded
from qrt.kernels.instructions import bytes_ahead
from qrt.kernels.intrinsics import (
    each_of,
    load_f32,
    load_i64,
    load_wide,
    store_f32,
    store_i64,
)
from qrt.kernels.jit import inline
from qrt.kernels.kv_caches import CACHES
from qrt.kernels.layout import FAR
from qrt.kernels.shuffles import count_lanes
from qrt.kernels.softmax import SCORES, Parts, settle_of
from qrt.kernels.values import beside_keys, in_keys

VALUES = 20 * 1024
"""Where in a thread's scratch memory 64 KB for values begin that are in K; before them lie a query
that is made ready, then the scores of a page, see `softmax`."""


class Page(NamedTuple):
    """What `page_of_heads` gives."""

    query_bytes: Any
    gather: Any
    take: Any


def page_of_heads(k_type: str, v_type: str, heads: int, bias: str, softmax: Parts) -> Page:
    """The parts of a kernel for `heads` query heads at once, whose states are those of `softmax`.

    query_bytes(k_width) is the size of what gather(query, scratch, q, bias, n_heads, k_width,
    scale) makes of n_heads query heads at q: scaled queries, and their slopes or table.
    take(scratch, state, query, k, k_width, width, low, high, back, cap, fresh, following) takes
    on slots low .. high of the page at k, whose slot 0 lies `back` behind the query, for `fresh` as
    the first of a state; what is read afterwards begins at `following`.
    """
    alibi, learned, v_in_k = bias == "alibi", bias == "learned", v_type == "k"
    put_query, scores_of = CACHES[k_type].key_readers(k_type, heads)
    gain = in_keys(k_type, heads) if v_in_k else beside_keys(k_type, v_type, heads)
    load_vector = load_wide(16 * heads)
    each_head, lane_numbers = each_of("f32", heads, 4), count_lanes(16 * heads)

    @inline
    def bias_of(query, k_width):
        return query + 4 * heads * padded(k_width)

    @inline
    def query_bytes(k_width):
        return 4 * heads * padded(k_width) + 64

    @inline
    def gather(query, scratch, q, bias, n_heads, k_width, scale):
        """Heads past n_heads repeat the last."""
        for h in range(heads):
            head = min(h, n_heads - 1)
            put_query(query, h, q + 4 * k_width * head, k_width, scale, scratch)
            if alibi:
                store_f32(bias_of(query, k_width) + 4 * h, load_f32(bias + 4 * head))
        if learned:
            store_i64(bias_of(query, k_width), bias)

    @inline
    def biased(value, slot, bias, back):
        if alibi:
            distance = (back - slot) - lane_numbers()
            value = value - each_head(bias) * distance
        if learned:
            value = value + load_vector(load_i64(bias) + 4 * (FAR - min(back - slot, FAR)))
        return value

    settle, near = settle_of(heads, biased), bytes_ahead()

    @inline
    def take(scratch, state, query, k, k_width, width, low, high, back, cap, fresh, following):
        ahead = following - k if v_in_k else near
        scores_of(query, k, k_width, scratch + SCORES, ahead)
        settle(scratch, low, high, cap, bias_of(query, k_width), back)
        softmax.weigh(scratch, state, low, high)
        weights, sums = scratch + SCORES, state + softmax.sums
        gain(
            weights, scratch + softmax.factors, sums, k, k_width, width, low, high, fresh,
            following, scratch + VALUES,
        )  # fmt: skip

    return Page(query_bytes, gather, take)

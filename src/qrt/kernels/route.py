"""The choice of experts for each row, and where its rows go when sorted by expert."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.intrinsics import (
    fetch_add,
    fma,
    load_f32,
    load_f32x16,
    load_i64,
    max_lanes,
    store_f32,
    store_f32x16,
    store_i32,
    store_i64,
    sum_lanes,
    vmax,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import ACTIVE, ROUTE, ROUTING, SCRATCH, STEP, routing_parts
from qrt.kernels.mathematics import sigmoid, softplus, vexp
from qrt.kernels.rows import copy

LOWEST = -3.0e38
"""The rank of what is not to be chosen."""

nothing, parts_of = zeros(16), inline(routing_parts)


@inline
def padded(n):
    """n rounded up to whole vectors."""
    return (n + 15) & -16


@inline
def fill_up(x, n, rest):
    """`rest` behind n floats at x, up to whole vectors."""
    for i in range(n, padded(n)):
        store_f32(x + 4 * i, rest)


@inline
def softmax(x, n):
    """Of n floats at x, with room for whole vectors; in place."""
    fill_up(x, n, LOWEST)
    most = nothing() + LOWEST
    for at in range(x, x + 4 * n, 64):
        most = vmax(most, load_f32x16(at))
    largest, total = max_lanes(most), nothing()
    for at in range(x, x + 4 * n, 64):
        v = vexp(load_f32x16(at) - largest)
        store_f32x16(at, v)
        total = total + v
    # lanes behind the last of n hold e**-87, which adds nothing to a sum of at least 1
    scaled(x, n, 1.0 / sum_lanes(total))


@inline
def scaled(x, n, factor):
    """n floats at x times a factor, in place."""
    for at in range(x, x + 4 * n, 64):
        store_f32x16(at, load_f32x16(at) * factor)


@inline
def gated(x, n, gating):
    """Scores of n logits, in place."""
    if gating == 0:
        softmax(x, n)
    elif gating == 1:
        for at in range(x, x + 4 * n, 64):
            store_f32x16(at, sigmoid(load_f32x16(at)))
    elif gating == 3:
        for at in range(x, x + 4 * n, 64):
            store_f32x16(at, softplus(load_f32x16(at)))
        for at in range(x, x + 4 * n, 4):
            store_f32(at, math.sqrt(load_f32(at)))


@inline
def not_finite(x, n):
    """NaN if any of n floats at x, and zeros up to whole vectors, is not finite, else 0."""
    total = nothing()
    for at in range(x, x + 4 * n, 64):
        total = fma(load_f32x16(at), 0.0, total)
    return sum_lanes(total)


@inline
def best_of(ranks, first, end):
    """The number of the greatest of ranks[first:end], the first of equals."""
    best, rank = first, load_f32(ranks + 4 * first)
    for i in range(first + 1, end):
        other = load_f32(ranks + 4 * i)
        if other > rank:
            best, rank = i, other
    return best


@inline
def two_best(ranks, first, end):
    """The sum of the two greatest of ranks[first:end]."""
    most, second = LOWEST, LOWEST
    for i in range(first, end):
        rank = load_f32(ranks + 4 * i)
        if rank > most:
            most, second = rank, most
        elif rank > second:
            second = rank
    return most + second


@inline
def keep_groups(ranks, n_groups, size, n_kept, sums):
    """Of `n_groups` of `size` experts the best keep their ranks; `sums` is working memory."""
    for group in range(n_groups):
        store_f32(sums + 4 * group, two_best(ranks, group * size, group * size + size))
    for _ in range(n_kept):
        store_f32(sums + 4 * best_of(sums, 0, n_groups), LOWEST)
    for group in range(n_groups):
        if load_f32(sums + 4 * group) > LOWEST:
            for i in range(group * size, group * size + size):
                store_f32(ranks + 4 * i, LOWEST)


@inline
def among_near(ranks, n, e, threshold, shares):
    """What each of n experts has of the softmax over those whose ranks are near that of e, the
    greatest; in `shares`.
    """
    most = load_f32(ranks + 4 * e)
    for i in range(n):
        rank = load_f32(ranks + 4 * i)
        is_near = most - rank <= threshold * max(most, 0.0 - rank)  # no rank is above most
        store_f32(shares + 4 * i, rank if is_near else LOWEST)
    softmax(shares, n)


@inline
def sort_rows(step, args):
    """Gives the chosen rows of each expert places one after the other, in whole tiles."""
    n_experts, n_used = load_i64(args + ROUTE.n_experts), load_i64(args + ROUTE.n_used)
    routing, tile = load_i64(args + ROUTE.routing), load_i64(args + ROUTE.tile_rows)
    out, n_rows = load_i64(args + ROUTE.out), load_i64(step + STEP.n_rows)
    at_active, at_words, at_places = parts_of(n_experts)
    active, words, places = routing + at_active, routing + at_words, routing + at_places
    for e in range(n_experts):
        store_i64(words + 8 * e, 0)
    for row in range(n_rows):
        for choice in range(n_used):
            e = int(load_f32(out + 4 * (2 * n_used * row + choice)))
            store_i64(words + 8 * e, load_i64(words + 8 * e) + 1)
    first, n_active = 0, 0
    for e in range(n_experts):
        n = load_i64(words + 8 * e)
        if n:
            store_i64(active + ACTIVE.expert, e)
            store_i64(active + ACTIVE.first, first)
            store_i64(active + ACTIVE.n_rows, n)
            store_i64(words + 8 * e, first)
            active += ACTIVE.size
            n_active += 1
            first += (n + tile - 1) // tile * tile
    store_i64(routing + ROUTING.n_active, n_active)
    store_i64(step + STEP.n_routed, first)
    for row in range(n_rows):
        for choice in range(n_used):
            e = int(load_f32(out + 4 * (2 * n_used * row + choice)))
            place = load_i64(words + 8 * e)
            store_i32(places + 4 * (n_used * row + choice), place)
            store_i64(words + 8 * e, place + 1)


def build() -> Any:
    def route(step, args, thread, n_threads):
        n_experts, n_used = load_i64(args + ROUTE.n_experts), load_i64(args + ROUTE.n_used)
        n_groups, gating = load_i64(args + ROUTE.n_groups), load_i64(args + ROUTE.gating)
        n_kept, bias = load_i64(args + ROUTE.n_groups_used), load_i64(args + ROUTE.bias)
        scale, routing = load_f32(args + ROUTE.scale), load_i64(args + ROUTE.routing)
        scores = load_i64(step + STEP.scratch) + thread * SCRATCH
        ranks = scores + 4 * padded(n_experts)
        chosen = ranks + 4 * padded(n_experts)
        n_rows = load_i64(step + STEP.n_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            copy(load_i64(args + ROUTE.logits) + 4 * n_experts * row, scores, n_experts)
            fill_up(scores, n_experts, 0.0)
            hidden = not_finite(scores, n_experts)  # what is not chosen would not show
            gated(scores, n_experts, gating)
            copy(scores, ranks, n_experts)
            fill_up(ranks, n_experts, LOWEST)
            if bias:
                for i in range(n_experts):
                    at = ranks + 4 * i
                    store_f32(at, load_f32(at) + load_f32(bias + 4 * i))
            if n_groups > 1:
                keep_groups(ranks, n_groups, n_experts // n_groups, n_kept, chosen)
            out = load_i64(args + ROUTE.out) + 8 * n_used * row
            for choice in range(n_used):
                e = best_of(ranks, 0, n_experts)
                if gating == 4:
                    among_near(ranks, n_experts, e, load_f32(args + ROUTE.threshold), scores)
                store_f32(ranks + 4 * e, LOWEST)
                store_f32(out + 4 * choice, float(e))
                store_f32(chosen + 4 * choice, load_f32(scores + 4 * e))
            if gating == 2:
                softmax(chosen, n_used)
            if load_i64(args + ROUTE.renormalize):
                total = 0.0
                for choice in range(n_used):
                    total += load_f32(chosen + 4 * choice)
                scale = load_f32(args + ROUTE.scale) / max(total, load_f32(args + ROUTE.least_sum))
            for choice in range(n_used):
                store_f32(
                    out + 4 * (n_used + choice), load_f32(chosen + 4 * choice) * scale + hidden
                )
        if fetch_add(routing + ROUTING.arrived, 1) == n_threads - 1:
            store_i64(routing + ROUTING.arrived, 0)
            sort_rows(step, args)

    return route

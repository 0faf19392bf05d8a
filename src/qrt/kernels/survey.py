"""What a sampler needs of each row of logits: their sum as powers of e, and the few that matter.

The few are all of the largest k, and some more: a row is cut into groups, each with its largest
value. What at least k groups reach, at least k values reach, so that none of the largest k, nor
what equals the least of them, lies below. One thread takes a row: sums have one order.
"""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.bits import count_bits, lanes_from, lowest_bit
from qrt.kernels.intrinsics import (
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
from qrt.kernels.layout import SCRATCH, STEP, SURVEY
from qrt.kernels.mathematics import vexp

SETS = 128
"""A row has up to two times as many runs of vectors; each lane of a run is a group."""

RUN = 64 * 256
"""Bytes of a row whose powers are added up before they meet the others, in float64."""

nothing = zeros(16)

MAGNITUDE = 0x7FFFFFFF
LOWEST, HIGHEST = 0xFF7FFFFF - (1 << 32) ^ MAGNITUDE, 0x7F800000
"""The keys of the lowest finite float and of infinity."""


@inline
def from_key(key, place):
    """The float of a key: their bits as a number, those of negative ones turned round, so that keys
    are in the order of floats. `place` is working memory.
    """
    store_i32(place, key if key >= 0 else key ^ MAGNITUDE)
    return load_f32(place)


@inline
def group_maxima(x, n, maxima):
    """Puts the largest value of each group at `maxima`, what is behind the last whole vector as a
    vector of its own; the end of those, and NaN if any of the row is not finite, else 0.
    """
    run = 64 * max(1, (n >> 4) // SETS)
    at, end, out = x, x + 4 * (n & -16), maxima
    hidden = nothing()
    while at < end:
        most = load_f32x16(at)
        for place in range(at, min(at + run, end), 64):
            v = load_f32x16(place)
            most = vmax(most, v)
            hidden = fma(v, 0.0, hidden)
        store_f32x16(out, most)
        at += run
        out += 64
    total = sum_lanes(hidden)
    if n & 15:
        store_f32x16(out, nothing() - math.inf)
        for i in range(n & 15):
            value = load_f32(end + 4 * i)
            store_f32(out + 4 * i, value)
            total += value * 0.0
        out += 64
    return out, total


@inline
def largest_of(maxima, end):
    """The largest value from `maxima` to `end`."""
    most = nothing() - math.inf
    for at in range(maxima, end, 64):
        most = vmax(most, load_f32x16(at))
    return max_lanes(most)


@inline
def sum_of_powers(x, n, peak, end):
    """The sum of e**(x - peak); what is behind the last whole vector stands before `end`."""
    total, last = 0.0, x + 4 * (n & -16)
    for start in range(x, last, RUN):
        lanes = nothing()
        for at in range(start, min(start + RUN, last), 64):
            lanes = lanes + vexp(load_f32x16(at) - peak)
        total += sum_lanes(lanes)
    if n & 15:
        total += sum_lanes(vexp(load_f32x16(end - 64) - peak))
    return total


@inline
def floor_of(maxima, end, wanted, place):
    """What at least `wanted` maxima reach, and where they differ at most twice as many; the lowest
    finite value if there are not so many.
    """
    low, high = LOWEST, HIGHEST + 1
    while high - low > 1:
        middle = (low + high) >> 1
        floor, n = from_key(middle, place), 0
        for at in range(maxima, end, 64):
            n += count_bits(lanes_from(load_f32x16(at), floor))
        if n < wanted:
            high = middle
        else:
            low = middle
            if n <= 2 * wanted:
                high = middle
    return from_key(low, place)


@inline
def list_from(x, n, floor, room, ids, logits):
    """Puts the values from `floor` on, and their ids, in order of these; how many there are, of
    which the first `room` are put.
    """
    n_found = 0
    for i in range(0, n & -16, 16):
        bits = lanes_from(load_f32x16(x + 4 * i), floor)
        while bits:
            if n_found < room:
                place = i + lowest_bit(bits)
                store_i64(ids + 8 * n_found, place)
                store_f32(logits + 4 * n_found, load_f32(x + 4 * place))
            n_found += 1
            bits &= bits - 1
    for i in range(n & -16, n):
        value = load_f32(x + 4 * i)
        if value >= floor:
            if n_found < room:
                store_i64(ids + 8 * n_found, i)
                store_f32(logits + 4 * n_found, value)
            n_found += 1
    return n_found


def build() -> Any:
    def survey(step, args, thread, n_threads):
        n, n_rows = load_i64(args + SURVEY.n_in), load_i64(args + SURVEY.n_rows)
        room = load_i64(args + SURVEY.room)
        place = load_i64(step + STEP.scratch) + thread * SCRATCH
        maxima = place + 64
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(load_i64(args + SURVEY.rows) + 8 * row)
            wanted = load_i64(load_i64(args + SURVEY.wanted) + 8 * row)
            end, hidden = group_maxima(x, n, maxima)
            peak = largest_of(maxima, end)
            total = sum_of_powers(x, n, peak, end) + hidden
            store_f32(load_i64(args + SURVEY.peaks) + 4 * row, peak)
            store_f32(load_i64(args + SURVEY.sums) + 4 * row, total)
            n_found = 0
            if wanted:
                n_found = list_from(
                    x,
                    n,
                    floor_of(maxima, end, wanted, place),
                    room,
                    load_i64(args + SURVEY.ids) + 8 * room * row,
                    load_i64(args + SURVEY.logits) + 4 * room * row,
                )
            store_i64(load_i64(args + SURVEY.counts) + 8 * row, n_found)

    return survey

"""The gated delta rule (Yang et al. 2024), with a decay for each head or each channel of k.

Lanes are columns of v, DELTA_COLUMNS at a time: these of a head's state stay in the first-level
cache while rows pass. Threads share out the runs of columns of all heads; a run is walked row by
row from the state before the segment on, so its bits do not depend on how rows are put in steps.
Row by row the state is read and written once: `walk` fades and corrects it, reads it by q, and by
the next row's faded k, of which that row's correction is made.
"""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.intrinsics import (
    fma,
    load_f32,
    load_f32x16,
    load_i64,
    load_wide,
    splat_f32,
    store,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import DELTA, DELTA_COLUMNS, MAX_DELTA_KEY, SCRATCH, STEP
from qrt.kernels.mathematics import sigmoid, softplus, vexp
from qrt.kernels.norm import total
from qrt.kernels.rows import along, copy, scale_row
from qrt.kernels.states import segment_end, slot_read, slot_written

WIDE = 4 * DELTA_COLUMNS
BLOCK = 32
"""Rows at most whose q, k and decays are made ready at a time."""
# of a thread's scratch: numbers of each row of a block, columns on their own, the rows of a block
BETAS, FADES, SPARE, TAIL, ROWS = 0, 4 * BLOCK, 8 * BLOCK, 1024, 48 * 1024
assert TAIL + WIDE * MAX_DELTA_KEY <= ROWS

load, nothing = load_wide(DELTA_COLUMNS), zeros(DELTA_COLUMNS)


@inline
def kept(decay, bias, rate):
    """exp(rate * softplus(decay + bias)); what is not finite stays so"""
    x = decay + bias
    return vexp(softplus(x) * rate) + x * 0.0


@inline
def multiplied(x, y, _):
    """x * y"""
    return x * y


keep_row, multiply_rows = along(kept), along(multiplied)


@inline
def make_gates(args, head, start, stop, scratch):
    """beta of a head for rows start .. stop, and what it keeps unless each channel has its own."""
    n_heads, by_channel = load_i64(args + DELTA.n_heads), load_i64(args + DELTA.by_channel)
    betas, fades = scratch + BETAS, scratch + FADES
    for row in range(start, stop):
        at, of_row = 4 * (row - start), 4 * (row * n_heads + head)
        store_f32(betas + at, load_f32(load_i64(args + DELTA.beta) + of_row))
        if not by_channel:
            store_f32(fades + at, load_f32(load_i64(args + DELTA.decay) + of_row))
    rate = load_f32(load_i64(args + DELTA.rate) + 4 * head)
    for at in range(0, 4 * (stop - start), 64):
        store_f32x16(betas + at, sigmoid(load_f32x16(betas + at)))
        if not by_channel:
            bias = splat_f32(load_f32(load_i64(args + DELTA.bias) + 4 * head))
            store_f32x16(fades + at, kept(load_f32x16(fades + at), bias, rate))


@inline
def make_rows(args, head, start, stop, scratch, part):
    """k, q, what is kept of each channel and k times that, for a head and rows start .. stop: four
    parts of `part` bytes a row.
    """
    n, n_k_heads = load_i64(args + DELTA.k_dim), load_i64(args + DELTA.n_k_heads)
    n_heads = load_i64(args + DELTA.n_heads)
    eps, rate = load_f32(args + DELTA.eps), load_f32(load_i64(args + DELTA.rate) + 4 * head)
    of_k = head % n_k_heads
    if load_i64(args + DELTA.grouped):
        of_k = head // (n_heads // n_k_heads)
    for row in range(start, stop):
        k = scratch + ROWS + 4 * part * (row - start)
        source = load_i64(args + DELTA.k) + row * load_i64(args + DELTA.k_stride) + 4 * of_k * n
        scale_row(source, source, k, n, 1.0 / math.sqrt(total(source, n, 0.0, 2) + eps))
        source = load_i64(args + DELTA.q) + row * load_i64(args + DELTA.q_stride) + 4 * of_k * n
        factor = 1.0 / math.sqrt((total(source, n, 0.0, 2) + eps) * n)
        scale_row(source, source, k + part, n, factor)
        keep = k + 2 * part
        if load_i64(args + DELTA.by_channel):
            decay = load_i64(args + DELTA.decay) + 4 * (row * n_heads + head) * n
            keep_row(decay, load_i64(args + DELTA.bias) + 4 * head * n, keep, n, rate)
        else:
            fade = splat_f32(load_f32(scratch + FADES + 4 * (row - start)))
            for i in range(0, part, 64):
                store_f32x16(keep + i, fade)
        multiply_rows(k, keep, keep + part, n, 0)


@inline
def read(state, weights, n):
    """The sum of n rows of the state times their weights."""
    found = nothing()
    for i in range(n):
        found = fma(load(state + WIDE * i), load_f32(weights + 4 * i), found)
    return found


@inline
def widened(source, columns, target):
    """`columns` values, and zeros up to DELTA_COLUMNS."""
    store(target, nothing())
    copy(source, target, columns)


@inline
def walk(args, head, run, start, stop, scratch, part, before, after):
    """Rows start .. stop through DELTA_COLUMNS columns at most of a head's state, from the one at
    `before`, which may be `after`, to that at `after`.
    """
    n, width = load_i64(args + DELTA.k_dim), load_i64(args + DELTA.v_dim)
    column, stride = DELTA_COLUMNS * run, load_i64(args + DELTA.v_stride)
    columns, spare = min(DELTA_COLUMNS, width - column), scratch + SPARE
    values = load_i64(args + DELTA.v) + 4 * (head * width + column)
    out_stride = load_i64(args + DELTA.n_heads) * width
    results = load_i64(args + DELTA.out) + 4 * (head * width + column)
    k = scratch + ROWS
    ahead = read(before, k + 3 * part, n)
    for row in range(start, stop):
        v = values + row * stride
        if columns < DELTA_COLUMNS:
            widened(v, columns, spare)
            v = spare
        change = (load(v) - ahead) * load_f32(scratch + BETAS + 4 * (row - start))
        following = k + 3 * part + (4 * part if row + 1 < stop else 0)
        found, ahead = nothing(), nothing()
        for i in range(n):
            at = 4 * i
            s = load(before + WIDE * i) * load_f32(k + 2 * part + at)
            s = fma(change, load_f32(k + at), s)
            store(after + WIDE * i, s)
            found = fma(s, load_f32(k + part + at), found)
            ahead = fma(s, load_f32(following + at), ahead)
        before = after
        k += 4 * part
        out = results + 4 * row * out_stride
        if columns < DELTA_COLUMNS:
            store(spare, found)
            copy(spare, out, columns)
        else:
            store(out, found)


@inline
def walk_run(args, head, run, start, stop, scratch, part, before, after):
    """`walk` with a run of the state in a slot: at `before`, 0 for zeros, and at `after`."""
    n, width = load_i64(args + DELTA.k_dim), load_i64(args + DELTA.v_dim)
    columns = min(DELTA_COLUMNS, width - DELTA_COLUMNS * run)
    state = after if columns == DELTA_COLUMNS else scratch + TAIL
    if before == 0:
        for at in range(0, WIDE * n, WIDE):
            store(state + at, nothing())
        before = state
    elif columns < DELTA_COLUMNS:
        for i in range(n):
            widened(before + 4 * columns * i, columns, state + WIDE * i)
        before = state
    walk(args, head, run, start, stop, scratch, part, before, state)
    if columns < DELTA_COLUMNS:
        for i in range(n):
            copy(state + WIDE * i, after + 4 * columns * i, columns)


def build() -> Any:
    def delta(step, args, thread, n_threads):
        n_rows, n_heads = load_i64(step + STEP.n_rows), load_i64(args + DELTA.n_heads)
        n, width = load_i64(args + DELTA.k_dim), load_i64(args + DELTA.v_dim)
        group, slots = load_i64(args + DELTA.group), load_i64(args + DELTA.slots)
        slot_stride = load_i64(args + DELTA.slot_stride)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        part = 4 * ((n + 15) & -16)
        block = min(BLOCK, (SCRATCH - ROWS) // (4 * part))
        n_runs = (width + DELTA_COLUMNS - 1) // DELTA_COLUMNS
        n_all = n_heads * n_runs
        first, last = n_all * thread // n_threads, n_all * (thread + 1) // n_threads
        row = 0
        while row < n_rows:
            end = segment_end(step, group, row, n_rows)
            source = slot_read(step, group, row, slots, slot_stride)
            target = slot_written(step, group, row, slots, slot_stride)
            for head in range(first // n_runs, (last + n_runs - 1) // n_runs):
                of_head = 4 * head * n * width
                for start in range(row, end, block):
                    stop = min(end, start + block)
                    make_gates(args, head, start, stop, scratch)
                    make_rows(args, head, start, stop, scratch, part)
                    before = source if start == row else target
                    for run in range(
                        max(0, first - head * n_runs), min(n_runs, last - head * n_runs)
                    ):
                        at = of_head + WIDE * n * run
                        at_before = before + at if before else 0
                        walk_run(
                            args, head, run, start, stop, scratch, part, at_before, target + at
                        )
            row = end

    return delta

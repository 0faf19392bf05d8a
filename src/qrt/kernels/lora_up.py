"""The second product of low-rank adapters, added to what they adapt.

Threads take panels of 16 outputs. The runs of the first product are added up in order, then the
products of the parts that a row uses, rank by rank: an output has the same bits whatever rows,
panels and threads are beside it, and is left as it is where its row uses no part.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    store,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import LORA_PART, LORA_UP, SCRATCH, STEP
from qrt.kernels.lora_down import K_BYTES, add_four, add_one, scales_of
from qrt.kernels.rows import place_of, row_count

TILE = 4
"""Rows that share what is read of the weights, where they use the same parts."""
SUMS = 64 * TILE
"""Bytes of their sums, before those of the ranks."""

none, none_of_four = zeros(16), zeros(64)


@inline
def whole(rank):
    """A rank filled up to whole vectors."""
    return (rank + 15) & -16


@inline
def all_ranks(parts, n_parts):
    """The ranks of all parts, each whole."""
    total = 0
    for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
        total += whole(load_i64(part + LORA_PART.rank))
    return total


@inline
def add_up(t, n_runs, run, parts, n_parts, scales, target):
    """The runs of a row of t added up for each part that it uses, times the scale of that; how many
    parts they are.
    """
    n_used = 0
    for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
        scale = load_f32(scales + 4 * load_i64(part + LORA_PART.adapter))
        rank = 4 * whole(load_i64(part + LORA_PART.rank))
        if scale != 0.0:
            factor = scale * load_f32(part + LORA_PART.factor)
            start = t + 4 * load_i64(part + LORA_PART.at)
            for at in range(0, rank, 64):
                total = load_f32x16(start + at)
                for i in range(1, n_runs):
                    total = total + load_f32x16(start + at + 4 * i * run)
                store_f32x16(target + at, total * factor)
            n_used += 1
        target += rank
    return n_used


@inline
def adapted(y, residual, out, width, is_used, value):
    """y + value where that is used, + residual; residual may be 0, for none."""
    if width == 16:
        total = load_f32x16(y)
        if is_used:
            total = total + value
        if residual:
            total = total + load_f32x16(residual)
        store_f32x16(out, total)
    else:
        for i in range(width):
            one = load_f32(y + 4 * i)
            if is_used:
                one += lane(value, i)
            if residual:
                one += load_f32(residual + 4 * i)
            store_f32(out + 4 * i, one)


@inline
def one_row(p, u, parts, n_parts, scales):
    """Whether a row uses any part, and the products of a panel at p with its ranks at u."""
    acc, is_used = none(), False
    for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
        rank = load_i64(part + LORA_PART.rank)
        if load_f32(scales + 4 * load_i64(part + LORA_PART.adapter)) != 0.0:
            acc, is_used = add_one(acc, p, u, 0, rank), True
        p += rank * K_BYTES
        u += 4 * whole(rank)
    return is_used, acc


@inline
def four_rows(p, u, stride, parts, n_parts, scales):
    """The products for four rows `stride` bytes apart that use the same parts."""
    acc = none_of_four()
    for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
        rank = load_i64(part + LORA_PART.rank)
        if load_f32(scales + 4 * load_i64(part + LORA_PART.adapter)) != 0.0:
            acc = add_four(acc, p, u, stride, rank)
        p += rank * K_BYTES
        u += 4 * whole(rank)
    return acc


@inline
def are_alike(scales, of_row, parts, n_parts):
    """Whether four rows use the same parts."""
    alike = True
    for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
        at = scales + 4 * load_i64(part + LORA_PART.adapter)
        is_used = load_f32(at) != 0.0
        for i in range(1, 4):
            alike = alike and (load_f32(at + i * of_row) != 0.0) == is_used
    return alike


def build() -> Any:
    def lora_up(step, args, thread, n_threads):
        n_rows, n_out = row_count(step, args + LORA_UP.rows_of), load_i64(args + LORA_UP.n_out)
        parts, n_parts = load_i64(args + LORA_UP.parts), load_i64(args + LORA_UP.n_parts)
        n_runs, run = load_i64(args + LORA_UP.n_runs), load_i64(args + LORA_UP.run)
        weights, residuals = load_i64(args + LORA_UP.weights), load_i64(args + LORA_UP.residual)
        ys = place_of(step, load_i64(args + LORA_UP.y))
        outs = place_of(step, load_i64(args + LORA_UP.out))
        scales = scales_of(step, args + LORA_UP.scales)
        of_row = 4 * load_i64(args + LORA_UP.n_adapters)
        sums = load_i64(step + STEP.scratch) + thread * SCRATCH
        u, stride = sums + SUMS, 4 * all_ranks(parts, n_parts)
        n_panels, panel_bytes = (n_out + 15) >> 4, 0
        for part in range(parts, parts + n_parts * LORA_PART.size, LORA_PART.size):
            panel_bytes += load_i64(part + LORA_PART.rank) * K_BYTES
        first, end = n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads
        for start in range(0, n_rows, TILE):
            n, n_used, of = min(TILE, n_rows - start), 0, scales + of_row * start
            for i in range(n):
                t = load_i64(args + LORA_UP.t) + 4 * (start + i) * n_runs * run
                n_used += add_up(t, n_runs, run, parts, n_parts, of + i * of_row, u + i * stride)
            if n_used == 0 and residuals == 0 and ys == outs:
                continue
            alike = n == TILE and are_alike(of, of_row, parts, n_parts)
            for panel in range(first, end):
                p, width = weights + panel * panel_bytes, min(16, n_out - 16 * panel)
                at = 4 * start * n_out + 64 * panel
                y, out, residual = ys + at, outs + at, residuals + at if residuals else 0
                if alike:
                    store(sums, four_rows(p, u, stride, parts, n_parts, of))
                for i in range(n):
                    if alike:
                        is_used, value = n_used > 0, load_f32x16(sums + 64 * i)
                    else:
                        is_used, value = one_row(p, u + i * stride, parts, n_parts, of + i * of_row)
                    adapted(y, residual, out, width, is_used, value)
                    y, out = y + 4 * n_out, out + 4 * n_out
                    residual += 4 * n_out if residual else 0

    return lora_up

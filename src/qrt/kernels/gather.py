"""Rows sorted by expert: each row is handed over once and copied to the other places it goes to."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hand_over
from qrt.kernels.intrinsics import load_f32, load_f32x16, load_i32, load_i64, store, store_f32
from qrt.kernels.jit import inline
from qrt.kernels.layout import GATHER, LINE, LINE_AT, STEP


@inline
def copy_lines(lines, n, tile, source, target):
    """The lines of a row of n values from one place to another."""
    n_blocks = n >> 5
    a = lines + (source // tile * tile * n_blocks + source % tile) * LINE
    b = lines + (target // tile * tile * n_blocks + target % tile) * LINE
    for at in range(0, n_blocks * tile * LINE, tile * LINE):
        store(b + at, load_f32x16(a + at))


@inline
def weigh_lines(lines, n, tile, place, weight):
    """The lines of a row times a weight: their scales and the sums of their values."""
    n_blocks = n >> 5
    line = lines + (place // tile * tile * n_blocks + place % tile) * LINE
    for _ in range(n_blocks):
        for at in (LINE_AT.scale, LINE_AT.fsum, LINE_AT.fsum_low, LINE_AT.fsum_high):
            store_f32(line + at, load_f32(line + at) * weight)
        line += tile * LINE


@inline
def copy_floats(floats, n, tile, source, target):
    """The float32 values of a row from one place to another."""
    a = floats + 4 * (source // tile * tile * n + source % tile)
    b = floats + 4 * (target // tile * tile * n + target % tile)
    for at in range(0, 4 * tile * n, 4 * tile):
        store_f32(b + at, load_f32(a + at))


@inline
def weigh_floats(floats, n, tile, place, weight):
    """The float32 values of a row times a weight."""
    x = floats + 4 * (place // tile * tile * n + place % tile)
    for at in range(x, x + 4 * tile * n, 4 * tile):
        store_f32(at, load_f32(at) * weight)


def build() -> Any:
    def gather(step, args, thread, n_threads):
        n_rows, n_used = load_i64(step + STEP.n_rows), load_i64(args + GATHER.n_used)
        n, tile = load_i64(args + GATHER.n_in), load_i64(args + GATHER.tile_rows)
        lines, floats = load_i64(args + GATHER.lines), load_i64(args + GATHER.floats)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + GATHER.x) + 4 * n * row
            places = load_i64(args + GATHER.places) + 4 * n_used * row
            weights = load_i64(args + GATHER.route) + 4 * n_used * (2 * row + 1)
            first = load_i32(places)
            hand_over(x, n, first, tile, lines, floats)
            for choice in range(1, n_used):
                place = load_i32(places + 4 * choice)
                if lines:
                    copy_lines(lines, n, tile, first, place)
                if floats:
                    copy_floats(floats, n, tile, first, place)
            if load_i64(args + GATHER.weighted):
                for choice in range(n_used):
                    place, weight = load_i32(places + 4 * choice), load_f32(weights + 4 * choice)
                    if lines:
                        weigh_lines(lines, n, tile, place, weight)
                    if floats:
                        weigh_floats(floats, n, tile, place, weight)

    return gather

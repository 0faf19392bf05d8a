"""The first product of low-rank adapters: runs of float32 rows times narrow float16 matrices.

A panel has 16 ranks of one adapter. Threads share out pairs of a run and a panel, so that a matrix
of one panel keeps them all busy; a run is summed by one thread in the order of its values, and rows
that do not use the panel's adapter are passed over.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.addresses import prefetch_weights
from qrt.kernels.intrinsics import (
    fma,
    load_f16x16,
    load_f32,
    load_i64,
    scatter,
    splat_f32,
    store,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import LORA_DOWN, LORA_RUN
from qrt.kernels.rows import row_count
from qrt.kernels.shuffles import concat, repeat

K_BYTES = 32
"""16 ranks of one k, float16."""


@inline
def each_of_one(x, stride):
    """A value in 16 lanes."""
    return splat_f32(load_f32(x))


@inline
def each_of_four(x, stride):
    """Four values `stride` bytes apart, each in 16 lanes."""
    low = concat(splat_f32(load_f32(x)), splat_f32(load_f32(x + stride)))
    x += 2 * stride
    return concat(low, concat(splat_f32(load_f32(x)), splat_f32(load_f32(x + stride))))


def products(tile: int) -> Any:
    """add(acc, p, x, stride, n): acc + 16 columns of float16 at p times n values of each of 1 or 4
    rows `stride` bytes apart.
    """
    each_x, rows = (each_of_one if tile == 1 else each_of_four), repeat(tile)

    @inline
    def add(acc, p, x, stride, n):
        for _ in range(n >> 1):
            prefetch_weights(p)
            acc = fma(rows(load_f16x16(p)), each_x(x, stride), acc)
            acc = fma(rows(load_f16x16(p + K_BYTES)), each_x(x + 4, stride), acc)
            p += 2 * K_BYTES
            x += 8
        if n & 1:
            acc = fma(rows(load_f16x16(p)), each_x(x, stride), acc)
        return acc

    return add


add_one, add_four = products(1), products(4)
none, none_of_four = zeros(16), zeros(64)


@inline
def scales_of(step, at):
    """The scales of the rows of an op whose place in the step is the word at `at`."""
    return load_i64(step + load_i64(at))


def build() -> Any:
    def lora_down(step, args, thread, n_threads):
        n_rows, n_in = row_count(step, args + LORA_DOWN.rows_of), load_i64(args + LORA_DOWN.n_in)
        n_panels, weights = load_i64(args + LORA_DOWN.n_panels), load_i64(args + LORA_DOWN.weights)
        adapters, n_adapters = (
            load_i64(args + LORA_DOWN.adapters),
            load_i64(args + LORA_DOWN.n_adapters),
        )
        scales = scales_of(step, args + LORA_DOWN.scales)
        n_pieces = (n_in + LORA_RUN - 1) // LORA_RUN * n_panels
        x_bytes, out_bytes, of_row = 4 * n_in, 64 * n_pieces, 4 * n_adapters
        for piece in range(n_pieces * thread // n_threads, n_pieces * (thread + 1) // n_threads):
            k, panel = piece // n_panels * LORA_RUN, piece % n_panels
            n = min(LORA_RUN, n_in - k)
            p = weights + (panel * n_in + k) * K_BYTES
            scale = scales + 4 * load_i64(adapters + 8 * panel)
            x = load_i64(args + LORA_DOWN.x) + 4 * k
            out = load_i64(args + LORA_DOWN.out) + 64 * piece
            row = 0
            while row < n_rows:
                at = scale + of_row * row
                used = load_f32(at) != 0.0
                if used and row + 4 <= n_rows:
                    four = load_f32(at + of_row) != 0.0 and load_f32(at + 2 * of_row) != 0.0
                    if four and load_f32(at + 3 * of_row) != 0.0:
                        acc = add_four(none_of_four(), p, x + row * x_bytes, x_bytes, n)
                        scatter(out + row * out_bytes, out_bytes, acc)
                        row += 4
                        continue
                if used:
                    store(out + row * out_bytes, add_one(none(), p, x + row * x_bytes, 0, n))
                row += 1

    return lora_down

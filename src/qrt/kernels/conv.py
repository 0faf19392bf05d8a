"""A causal convolution over positions, channel by channel; threads share out the channels.

Its state are the last rows before a segment, as they were. Each output is one sum in the order of
the taps, whether a row before is in the step or in the state.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import (
    fma,
    lane,
    load_f32,
    load_f32x16,
    load_i64,
    splat_f32,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import CONV, STEP
from qrt.kernels.mathematics import silu
from qrt.kernels.rows import copy
from qrt.kernels.states import segment_end, slot_read, slot_written

nothing = zeros(16)


@inline
def load_one(address):
    """A float in all lanes."""
    return splat_f32(load_f32(address))


@inline
def as_is(x):
    """x"""
    return x


def _convolved(load: Any, finish: Any) -> Any:
    @inline
    def convolved(x, stride, tail, width, n_inside, taps, bias, n_taps):
        """Channels of a row: x is their place in it, `tail` that in the state, `n_inside` how many
        rows of the segment precede.
        """
        total = load(bias) if bias else nothing()
        for j in range(n_taps):
            back = n_taps - 1 - j
            at = x - back * stride
            if back > n_inside:
                at = tail + 4 * (n_inside + j) * width
            total = fma(load(taps + 64 * j), load(at), total)
        return finish(total)

    return convolved


@inline
def clear(target, n):
    """n zeros."""
    for i in range(n):
        store_f32(target + 4 * i, 0.0)


def build(function: str = "plain") -> Any:
    finish = {"plain": as_is, "silu": silu}[function]
    of_16, of_one = _convolved(load_f32x16, finish), _convolved(load_one, finish)

    @inline
    def whole_segment(args, first, end, tail, left, low, high):
        """Channels low .. high - 1 of rows first .. end - 1: the state before them is at `tail`,
        the one behind them goes to `left`, which may be the same place.
        """
        dim, n_taps = load_i64(args + CONV.dim), load_i64(args + CONV.n_taps)
        taps, bias = load_i64(args + CONV.weight), load_i64(args + CONV.bias)
        stride, whole = load_i64(args + CONV.x_stride), low + ((high - low) & -16)
        for row in range(first, end):
            x = load_i64(args + CONV.x) + row * stride
            out = load_i64(args + CONV.out) + 4 * row * dim
            for c in range(low, whole, 16):
                own, b = taps + 4 * c * n_taps, bias + 4 * c if bias else 0
                y = of_16(x + 4 * c, stride, tail + 4 * c, dim, row - first, own, b, n_taps)
                store_f32x16(out + 4 * c, y)
            for c in range(whole, high):
                own, b = taps + 4 * whole * n_taps + 4 * (c - whole), bias + 4 * c if bias else 0
                y = of_one(x + 4 * c, stride, tail + 4 * c, dim, row - first, own, b, n_taps)
                store_f32(out + 4 * c, lane(y, 0))
        n_rows = end - first
        for i in range(n_taps - 1):
            back, source = n_taps - 1 - i, tail + 4 * (n_rows + i) * dim
            if back <= n_rows:
                source = load_i64(args + CONV.x) + (end - back) * stride
            copy(source + 4 * low, left + 4 * (i * dim + low), high - low)

    def conv(step, args, thread, n_threads):
        n_rows, dim = load_i64(step + STEP.n_rows), load_i64(args + CONV.dim)
        n_before = load_i64(args + CONV.n_taps) - 1
        group, slots = load_i64(args + CONV.group), load_i64(args + CONV.slots)
        slot_stride, n_panels = load_i64(args + CONV.slot_stride), (dim + 15) // 16
        low = 16 * (n_panels * thread // n_threads)
        high = min(16 * (n_panels * (thread + 1) // n_threads), dim)
        row = 0
        while row < n_rows:
            end = segment_end(step, group, row, n_rows)
            left = slot_written(step, group, row, slots, slot_stride)
            tail = slot_read(step, group, row, slots, slot_stride)
            if tail == 0:
                for i in range(n_before):
                    clear(left + 4 * (i * dim + low), max(high - low, 0))
                tail = left
            whole_segment(args, row, end, tail, left, low, high)
            row = end

    return conv

"""The scan of Mamba-2 (Dao and Gu 2024): threads share out heads, 16 channels at a time.

Some n of a state stay in registers while some rows of a segment pass, then the next n. What these
rows have of b and c, which all heads of a group read, lies side by side in the first-level cache. A
step of one row does the same sums in the same order.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.addresses import prefetch
from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    load_f32,
    load_f32x16,
    load_i64,
    load_wide,
    store,
    store_f32,
    store_f32x16,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import SCRATCH, SSD, STEP
from qrt.kernels.mathematics import silu, softplus, vexp
from qrt.kernels.recurrences import load_lanes, store_lanes, sum_of_products
from qrt.kernels.rows import copy
from qrt.kernels.shuffles import repeat
from qrt.kernels.states import segment_end, slot_read, slot_written

ROWS = 32
"""Rows that pass at once, fewer of states beyond 1,000: what they have stays in the cache."""
DECAYS, INPUTS, OUTPUTS, ROOM = 4 * ROWS, 8 * ROWS, 72 * ROWS, 136 * ROWS
SHARED = ROOM + 64
"""Where they lie in the scratch memory, behind the steps; last b and c."""
NEXT = 64
"""Bytes to the next 16 channels of a row, asked for early: rows are too far apart for the CPU to
find out by itself."""


def _walk(count: int) -> Any:
    """walk(before, after, shared, scratch, n_rows): `count` n of a state, from `before` (0: none)
    to `after`, and what they add to the outputs; `shared` has their b and c, row by row.
    """
    none, load_state = zeros(16 * count), load_wide(16 * count)
    again, each = repeat(count), each_of("f32", count, 4)

    @inline
    def walk(before, after, shared, scratch, n_rows):
        h = load_state(before) if before else none()
        for i in range(n_rows):
            x, y = again(load_f32x16(scratch + INPUTS + 64 * i)), scratch + OUTPUTS + 64 * i
            h = fma(h, load_f32(scratch + DECAYS + 4 * i), each(shared) * x)
            store_f32x16(y, load_f32x16(y) + sum_of_products(h, each(shared + 4 * count)))
            shared += 8 * count
        store(after, h)

    return walk


def build() -> Any:
    count = 16 if register_lanes() == 16 else 4
    walk_some, walk_one = _walk(count), _walk(1)

    @inline
    def enter(args, row, n_rows, head, p, n_lanes, scratch):
        """Steps, decays, inputs times steps and what d makes of them."""
        a, d = load_f32(load_i64(args + SSD.a) + 4 * head), load_i64(args + SSD.d) + 4 * head
        bias = load_i64(args + SSD.dt_bias)
        shift = load_f32(bias + 4 * head) if bias else 0.0
        stride = load_i64(args + SSD.dt_stride)
        dt = load_i64(args + SSD.dt) + row * stride + 4 * head
        for i in range(n_rows):
            store_f32(scratch + 4 * i, load_f32(dt + i * stride) + shift)
        for at in range(scratch, scratch + 4 * n_rows, 64):
            steps = softplus(load_f32x16(at))
            store_f32x16(at, steps)
            store_f32x16(at + DECAYS, vexp(steps * a))
        stride = load_i64(args + SSD.x_stride)
        x = load_i64(args + SSD.x) + row * stride
        x += 4 * (head * load_i64(args + SSD.head_dim) + p)
        for i in range(n_rows):
            prefetch(x + i * stride, NEXT)
            values = load_lanes(x + i * stride, n_lanes, scratch + ROOM)
            store_f32x16(scratch + INPUTS + 64 * i, values * load_f32(scratch + 4 * i))
            store_f32x16(scratch + OUTPUTS + 64 * i, values * load_f32(d))

    @inline
    def leave(args, row, n_rows, head, p, n_lanes, scratch):
        """Outputs, gated, to their rows."""
        n_heads, head_dim = load_i64(args + SSD.n_heads), load_i64(args + SSD.head_dim)
        gate, stride = load_i64(args + SSD.gate), load_i64(args + SSD.gate_stride)
        at = 4 * (head * head_dim + p)
        out = load_i64(args + SSD.out) + 4 * row * n_heads * head_dim + at
        for i in range(n_rows):
            y = load_f32x16(scratch + OUTPUTS + 64 * i)
            if gate:
                own = gate + (row + i) * stride + at
                prefetch(own, NEXT)
                y = y * silu(load_lanes(own, n_lanes, scratch + ROOM))
            own = out + 4 * i * n_heads * head_dim
            prefetch(own, NEXT)
            store_lanes(own, n_lanes, y, scratch + ROOM)

    @inline
    def share(args, row, n_rows, group, n_state, scratch):
        """b and c of a group: for some n at a time those of every row."""
        b_stride, c_stride = load_i64(args + SSD.b_stride), load_i64(args + SSD.c_stride)
        b = load_i64(args + SSD.b) + row * b_stride + 4 * group * n_state
        c = load_i64(args + SSD.c) + row * c_stride + 4 * group * n_state
        target, n = scratch + SHARED, 0
        while n < n_state:
            here = count if n + count <= n_state else 1
            for i in range(n_rows):
                copy(b + i * b_stride + 4 * n, target, here)
                copy(c + i * c_stride + 4 * n, target + 4 * here, here)
                target += 8 * here
            n += here

    @inline
    def some_rows(args, row, n_rows, unit, n_tiles, n_state, before, after, scratch):
        """16 channels of a head in some rows of a segment."""
        head, p = unit // n_tiles, 16 * (unit % n_tiles)
        n_lanes = min(16, load_i64(args + SSD.head_dim) - p)
        enter(args, row, n_rows, head, p, n_lanes, scratch)
        shared, whole = scratch + SHARED, n_state // count * count
        for n in range(0, whole, count):
            old = before + 64 * n if before else 0
            walk_some(old, after + 64 * n, shared + 8 * n * n_rows, scratch, n_rows)
        for n in range(whole, n_state):
            old = before + 64 * n if before else 0
            walk_one(old, after + 64 * n, shared + 8 * n * n_rows, scratch, n_rows)
        leave(args, row, n_rows, head, p, n_lanes, scratch)

    def ssd(step, args, thread, n_threads):
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, n_state = load_i64(step + STEP.n_rows), load_i64(args + SSD.n_state)
        n_tiles, size = (load_i64(args + SSD.head_dim) + 15) // 16, 64 * n_state
        n_units = load_i64(args + SSD.n_heads) * n_tiles
        first, last = n_units * thread // n_threads, n_units * (thread + 1) // n_threads
        in_group = n_units // load_i64(args + SSD.n_groups)
        at_once = min(ROWS, (SCRATCH - SHARED) // (8 * n_state))
        group, slots = load_i64(args + SSD.group), load_i64(args + SSD.slots)
        slot_stride, row = load_i64(args + SSD.slot_stride), 0
        while row < n_rows:
            end = segment_end(step, group, row, n_rows)
            source = slot_read(step, group, row, slots, slot_stride)
            target = slot_written(step, group, row, slots, slot_stride)
            for at in range(row, end, at_once):
                here, old = min(at_once, end - at), source if at == row else target
                for unit in range(first, last):
                    if unit == first or unit % in_group == 0:
                        share(args, at, here, unit // in_group, n_state, scratch)
                    before, after = old + unit * size if old else 0, target + unit * size
                    some_rows(args, at, here, unit, n_tiles, n_state, before, after, scratch)
            row = end

    return ssd

"""The scan of Mamba (Gu and Dao 2023): threads share out channels, 16 at a time.

The state of 16 channels stays in the first-level cache while the rows of a segment pass. A step of
one row does the same sums in the same order.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.instructions import register_lanes
from qrt.kernels.intrinsics import (
    each_of,
    fma,
    load_i64,
    load_wide,
    store,
    zeros,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import SCRATCH, SELECTIVE_SCAN, STEP
from qrt.kernels.mathematics import silu, softplus, vexp
from qrt.kernels.recurrences import load_lanes, store_lanes, sum_of_products
from qrt.kernels.shuffles import repeat
from qrt.kernels.states import segment_end, slot_read, slot_written


def _move(count: int) -> Any:
    """move(before, after, a, steps, inputs, b, c): `count` n of a state go one row on, from
    `before`, 0 for none; what they add to the output.
    """
    none, load_some = zeros(16 * count), load_wide(16 * count)
    again, each = repeat(count), each_of("f32", count, 4)

    @inline
    def move(before, after, a, steps, inputs, b, c):
        h = load_some(before) if before else none()
        h = fma(h, vexp(load_some(a) * again(steps)), again(inputs) * each(b))
        store(after, h)
        return sum_of_products(h, each(c))

    return move


def build() -> Any:
    count = 4 if register_lanes() == 16 else 2
    move_some, move_one = _move(count), _move(1)
    record = SELECTIVE_SCAN

    @inline
    def one_row(args, row, c0, n_lanes, before, after, a, d, room):
        """Channels c0 .. c0 + n_lanes - 1 of a row."""
        dim, n_state = load_i64(args + record.dim), load_i64(args + record.n_state)
        x = load_i64(args + record.x) + row * load_i64(args + record.x_stride) + 4 * c0
        dt = load_i64(args + record.dt) + row * load_i64(args + record.dt_stride) + 4 * c0
        gate = load_i64(args + record.gate) + row * load_i64(args + record.gate_stride) + 4 * c0
        b = load_i64(args + record.b) + row * load_i64(args + record.b_stride)
        c = load_i64(args + record.c) + row * load_i64(args + record.c_stride)
        values = load_lanes(x, n_lanes, room)
        steps = softplus(load_lanes(dt, n_lanes, room))
        inputs, y, whole = values * steps, values * d, n_state // count * count
        for n in range(0, whole, count):
            old = before + 64 * n if before else 0
            new, own = after + 64 * n, a + 64 * n
            y = y + move_some(old, new, own, steps, inputs, b + 4 * n, c + 4 * n)
        for n in range(whole, n_state):
            old = before + 64 * n if before else 0
            new, own = after + 64 * n, a + 64 * n
            y = y + move_one(old, new, own, steps, inputs, b + 4 * n, c + 4 * n)
        y = y * silu(load_lanes(gate, n_lanes, room))
        store_lanes(load_i64(args + record.out) + 4 * (row * dim + c0), n_lanes, y, room)

    def selective_scan(step, args, thread, n_threads):
        room = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, dim = load_i64(step + STEP.n_rows), load_i64(args + record.dim)
        size, n_panels = 64 * load_i64(args + record.n_state), (dim + 15) // 16
        group, slots = load_i64(args + record.group), load_i64(args + record.slots)
        slot_stride, row = load_i64(args + record.slot_stride), 0
        while row < n_rows:
            end = segment_end(step, group, row, n_rows)
            source = slot_read(step, group, row, slots, slot_stride)
            target = slot_written(step, group, row, slots, slot_stride)
            for i in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
                n_lanes, a = min(16, dim - 16 * i), load_i64(args + record.a) + i * size
                d = load_lanes(load_i64(args + record.d) + 64 * i, n_lanes, room)
                before, after = source + i * size if source else 0, target + i * size
                for r in range(row, end):
                    one_row(args, r, 16 * i, n_lanes, before, after, a, d, room)
                    before = after
            row = end

    return selective_scan

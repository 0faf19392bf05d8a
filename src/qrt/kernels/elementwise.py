"""Gated activations, sums, the choice of rows for logits, and a plain read of memory."""

from __future__ import annotations

from typing import Any

from qrt.kernels.activations import hands_over
from qrt.kernels.intrinsics import (
    lane,
    load_f32,
    load_f32x16,
    load_i32,
    load_i32x64,
    load_i64,
    splat_f32,
    store,
    store_f32,
    store_f32x16,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import ADD, GLU, READ, READ_SUM, SELECT, STEP
from qrt.kernels.mathematics import gelu, silu


@inline
def gated(gate, up, use_gelu):
    return (gelu(gate) if use_gelu else silu(gate)) * up


def build_glu(lines_of: str = "int8") -> Any:
    hand_over = hands_over(lines_of)

    def glu(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_rows), load_i64(args + GLU.n_in)
        use_gelu = load_i64(args + GLU.gelu)
        if load_i64(args + GLU.rows_of):
            n_rows = load_i64(step + STEP.n_logits)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            gate = load_i64(args + GLU.gate) + 4 * row * n
            up = load_i64(args + GLU.up) + 4 * row * n
            out = load_i64(args + GLU.out) + 4 * row * n
            for at in range(0, 4 * (n & -16), 64):
                store_f32x16(
                    out + at, gated(load_f32x16(gate + at), load_f32x16(up + at), use_gelu)
                )
            for at in range(4 * (n & -16), 4 * n, 4):
                g, u = splat_f32(load_f32(gate + at)), splat_f32(load_f32(up + at))
                store_f32(out + at, lane(gated(g, u, use_gelu), 0))
            lines, lanes = load_i64(args + GLU.lines), load_i64(args + GLU.lanes)
            hand_over(out, n, row, load_i64(args + GLU.tile), lines, lanes)

    return glu


def build_add() -> Any:
    def add(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_rows), load_i64(args + ADD.n_in)
        a, b = load_i64(args + ADD.a), load_i64(args + ADD.b)
        out = load_i64(args + ADD.out)
        if load_i64(args + ADD.rows_of):
            n_rows = load_i64(step + STEP.n_logits)
        first = 4 * n * (n_rows * thread // n_threads)
        last = 4 * n * (n_rows * (thread + 1) // n_threads)
        for at in range(first, last, 4):
            store_f32(out + at, load_f32(a + at) + load_f32(b + at))

    return add


def build_select() -> Any:
    def select(step, args, thread, n_threads):
        n_rows, n = load_i64(step + STEP.n_logits), load_i64(args + SELECT.n_in)
        rows = load_i64(step + STEP.logit_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(args + SELECT.x) + 4 * n * load_i32(rows + 4 * row)
            out = load_i64(args + SELECT.out) + 4 * n * row
            for at in range(0, 4 * n, 4):
                store_f32(out + at, load_f32(x + at))

    return select


def build_read() -> Any:
    def read(step, args, thread, n_threads):
        """Sums the lanes of all memory, to measure the bandwidth; a lane not kept is not read."""
        data, n = load_i64(args + READ.data), load_i64(args + READ.n_bytes) >> 10
        total = load_i32x64(data)
        for i in range(n * thread // n_threads, n * (thread + 1) // n_threads):
            p = data + 1024 * i
            near = load_i32x64(p) + load_i32x64(p + 256)
            total = total + (near + (load_i32x64(p + 512) + load_i32x64(p + 768)))
        store(load_i64(args + READ.sums) + READ_SUM * thread, total)

    return read

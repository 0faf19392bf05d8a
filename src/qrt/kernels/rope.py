"""Rotary position embedding (Su et al. 2021), from the step's tables of cos and sin."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f32, load_i64, store_f32
from qrt.kernels.layout import ROPE, STEP


def build() -> Any:
    def rope(step, args, thread, n_threads):
        n_rows, half = load_i64(step + STEP.n_rows), load_i64(args + ROPE.rope_dim) >> 1
        n_heads, head_dim = load_i64(args + ROPE.n_heads), load_i64(args + ROPE.head_dim)
        neox = load_i64(args + ROPE.neox)
        stride, apart = (4, 4 * half) if neox else (8, 4)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            cos = load_i64(step + STEP.rope) + 8 * half * row
            cos += load_i64(args + ROPE.table) * n_rows
            sin = cos + 4 * half
            at = 4 * row * n_heads * head_dim
            x, out = load_i64(args + ROPE.x) + at, load_i64(args + ROPE.out) + at
            for _ in range(n_heads):
                for i in range(half):
                    c, s = load_f32(cos + 4 * i), load_f32(sin + 4 * i)
                    a, b = load_f32(x + stride * i), load_f32(x + stride * i + apart)
                    store_f32(out + stride * i, a * c - b * s)
                    store_f32(out + stride * i + apart, a * s + b * c)
                if out != x:
                    for i in range(2 * half, head_dim):
                        store_f32(out + 4 * i, load_f32(x + 4 * i))
                x += 4 * head_dim
                out += 4 * head_dim

    return rope

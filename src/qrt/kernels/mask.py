"""Rows of logits in which only some tokens are left: -inf where a bit of the row's mask is 0."""

from __future__ import annotations

import math
from typing import Any

from qrt.kernels.bits import where
from qrt.kernels.intrinsics import (
    load_f32,
    load_f32x16,
    load_i64,
    load_u8,
    load_u16,
    store_f32,
    store_f32x16,
)
from qrt.kernels.layout import MASK

NEVER = -math.inf


def build() -> Any:
    def mask(step, args, thread, n_threads):
        n, n_rows = load_i64(args + MASK.n_in), load_i64(args + MASK.n_rows)
        for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            x = load_i64(load_i64(args + MASK.rows) + 8 * row)
            bits = load_i64(load_i64(args + MASK.masks) + 8 * row)
            out = load_i64(args + MASK.out) + 4 * n * row
            for i in range(0, n & -16, 16):
                kept = where(load_u16(bits + (i >> 3)), load_f32x16(x + 4 * i), NEVER)
                store_f32x16(out + 4 * i, kept)
            for i in range(n & -16, n):
                if load_u8(bits + (i >> 3)) >> (i & 7) & 1:
                    store_f32(out + 4 * i, load_f32(x + 4 * i))
                else:
                    store_f32(out + 4 * i, NEVER)

    return mask

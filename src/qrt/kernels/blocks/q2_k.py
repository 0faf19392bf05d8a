"""Q2_K: d * scale * code - dmin * min, 4-bit scales and mins for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x128, to_f32
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d, dmin = load_f16x16(p), load_f16x16(p + 32)
        for i in range(2):
            v = load_i32x128(p + 320 + 512 * i)
            for j in range(4):
                fetch(p + 672 * i + 168 * j, 168)
                pairs = load_i32x16(p + 64 + 128 * i + 64 * (j >> 1)) >> (16 * (j & 1))
                scales = d * to_f32(pairs & 15), d * to_f32((pairs >> 8) & 15)
                mins = dmin * to_f32((pairs >> 4) & 15), dmin * to_f32((pairs >> 12) & 15)
                state = update(state, (v >> (2 * j)) & 0x03030303, scales, mins, x)
                x += step
        return state

    return visit

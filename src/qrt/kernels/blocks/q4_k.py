"""Q4_K: d * scale * code - dmin * min, eight 6-bit scales and mins for 32 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import byte_f32, k_scales
from qrt.kernels.intrinsics import load_f16x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        for i in range(4):  # 64 values: the low nibbles of 32 bytes a row, then the high ones
            fetch(p + 576 * i, 576)
            d, dmin = load_f16x16(p), load_f16x16(p + 32)
            scales, mins = k_scales(p + 64, i >> 1)
            shift = 16 * (i & 1)
            v = load_i32x128(p + 256 + 512 * i)
            s, m = d * byte_f32(scales, shift), dmin * byte_f32(mins, shift)
            state = update(state, v & 0x0F0F0F0F, (s,), (m,), x)
            s, m = d * byte_f32(scales, shift + 8), dmin * byte_f32(mins, shift + 8)
            state = update(state, (v >> 4) & 0x0F0F0F0F, (s,), (m,), x + step)
            x += 2 * step
        return state

    return visit

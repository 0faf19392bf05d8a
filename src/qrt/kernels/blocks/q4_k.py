"""Q4_K: d * scale * code - dmin * min, eight 6-bit scales and mins for 32 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import byte_f32, k_scales
from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any) -> Any:
    @inline
    def quarter(state, q, d, dmin, scales, mins, shift, x, step):
        """64 values: the low nibbles of 32 bytes a row, then the high ones."""
        v = load_i32x128(q)
        s, m = d * byte_f32(scales, shift), dmin * byte_f32(mins, shift)
        state = update(state, v & 0x0F0F0F0F, (s,), (m,), x)
        s, m = d * byte_f32(scales, shift + 8), dmin * byte_f32(mins, shift + 8)
        return update(state, (v >> 4) & 0x0F0F0F0F, (s,), (m,), x + step)

    @inline
    def visit(state, p, x, step):
        d, dmin = load_f16x16(p), load_f16x16(p + 32)
        a, b, c = load_i32x16(p + 64), load_i32x16(p + 128), load_i32x16(p + 192)
        scales, scales_high, mins, mins_high = k_scales(a, b, c)
        q = p + 256
        for i in range(4):
            state = quarter(state, q, d, dmin, scales, mins, 16 * (i & 1), x, step)
            if i == 1:
                scales, mins = scales_high, mins_high
            q += 512
            x += 2 * step
        return state

    return visit

"""Q6_K: d * scale * (code - 32), signed 8-bit scales for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x128, sign_byte, to_f32
from qrt.kernels.jit import inline


def build(update: Any) -> Any:
    @inline
    def eighth(state, low, high, d, scales, x):
        """32 values: 4 low bits and 2 high bits, two scales."""
        pair = d * to_f32(sign_byte(scales)), d * to_f32(sign_byte(scales >> 8))
        return update(state, (low & 0x0F0F0F0F) | ((high & 0x03030303) << 4), pair, (), x)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        scales, q, h = p + 32, p + 288, p + 2336
        for _ in range(2):
            a, b, high = load_i32x128(q), load_i32x128(q + 512), load_i32x128(h)
            s = load_i32x16(scales)
            state = eighth(state, a, high, d, s, x)
            state = eighth(state, b, high >> 2, d, s >> 16, x + step)
            s = load_i32x16(scales + 64)
            state = eighth(state, a >> 4, high >> 4, d, s, x + 2 * step)
            state = eighth(state, b >> 4, high >> 6, d, s >> 16, x + 3 * step)
            scales += 128
            q += 1024
            h += 512
            x += 4 * step
        return state

    return visit

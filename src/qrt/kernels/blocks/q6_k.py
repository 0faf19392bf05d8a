"""Q6_K: d * scale * (code - 32), signed 8-bit scales for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x128, sign_byte, to_f32
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        for i in range(8):
            fetch(p + 420 * i, 420)
            half, quarter = p + 288 + 1536 * (i >> 2), i & 3
            low = load_i32x128(half + 512 * (quarter & 1)) >> (4 * (quarter >> 1))
            high = load_i32x128(half + 1024) >> (2 * quarter)
            words = load_i32x16(p + 32 + 64 * (i >> 1)) >> (16 * (i & 1))
            scales = d * to_f32(sign_byte(words)), d * to_f32(sign_byte(words >> 8))
            state = update(state, (low & 0x0F0F0F0F) | ((high & 0x03030303) << 4), scales, (), x)
            x += step
        return state

    return visit

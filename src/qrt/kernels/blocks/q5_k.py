"""Q5_K: Q4_K with a fifth bit: bit j of byte l belongs to value l of the j-th 32."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import byte_f32, k_scales
from qrt.kernels.intrinsics import load_f16x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        for i in range(4):  # 64 values: the low nibbles of 32 bytes a row, then the high ones
            fetch(p + 704 * i, 704)
            d, dmin = load_f16x16(p), load_f16x16(p + 32)
            scales, mins = k_scales(p + 64, i >> 1)
            shift = 16 * (i & 1)
            v, fifths = load_i32x128(p + 768 + 512 * i), load_i32x128(p + 256) >> (2 * i)
            s, m = d * byte_f32(scales, shift), dmin * byte_f32(mins, shift)
            codes = (v & 0x0F0F0F0F) | ((fifths & 0x01010101) << 4)
            state = update(state, codes, (s,), (m,), x)
            s, m = d * byte_f32(scales, shift + 8), dmin * byte_f32(mins, shift + 8)
            codes = ((v >> 4) & 0x0F0F0F0F) | ((fifths & 0x02020202) << 3)
            state = update(state, codes, (s,), (m,), x + step)
            x += 2 * step
        return state

    return visit

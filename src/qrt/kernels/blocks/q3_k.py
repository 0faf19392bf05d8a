"""Q3_K: d * (6-bit scale - 32) * (code - 4), scales for 16 values each, third bits apart."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import byte_f32
from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def scale_words(a, b, c, i):
        """Eight of the sixteen scales: low nibbles (i = 0) or high ones (i = 1) of a and b."""
        low = (a >> (4 * i)) & 0x0F0F0F0F, (b >> (4 * i)) & 0x0F0F0F0F
        c = c >> (4 * i)
        return low[0] | ((c & 0x03030303) << 4), low[1] | (((c >> 2) & 0x03030303) << 4)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        a, b, c = load_i32x16(p + 32), load_i32x16(p + 96), load_i32x16(p + 160)
        for i in range(2):
            words, words_high = scale_words(a, b, c, i)
            v = load_i32x128(p + 736 + 512 * i)
            third = load_i32x128(p + 224) >> (4 * i)
            for j in range(4):
                fetch(p + 880 * i + 220 * j, 220)
                shift = 16 * (j & 1)
                s0 = d * (byte_f32(words, shift) - 32.0)
                s1 = d * (byte_f32(words, shift + 8) - 32.0)
                codes = ((v >> (2 * j)) & 0x03030303) | (((third >> j) & 0x01010101) << 2)
                state = update(state, codes, (s0, s1), (), x)
                if j == 1:
                    words = words_high
                x += step
        return state

    return visit

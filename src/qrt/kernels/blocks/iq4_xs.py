"""IQ4_XS: d * (6-bit scale - 32) * value[nibble]; 4 bits of a scale here, 2 bits there."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import lookup_iq4, nibbles
from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_u16x16, to_f32
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        high = load_u16x16(p + 32)
        low = load_i32x16(p + 64)
        for i in range(8):
            fetch(p + 272 * i, 272)
            code = ((low >> (4 * i)) & 0x0F) | (((high >> (2 * i)) & 3) << 4)
            scale = d * to_f32(code - 32)
            state = update(state, lookup_iq4(nibbles(p + 128 + 256 * i)), (scale,), (), x)
            x += step
        return state

    return visit

"""IQ1_S: d * (2 * scale + 1) * (point + delta), points of 8 values from -1 to 1, delta +-1/8."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import eights, four_bytes, four_of
from qrt.kernels.intrinsics import gather, load_f16x16, load_i32x16, load_u16x16, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


def build(update: Any, fetch: Any) -> Any:
    point = gather("grid_IQ1", eights("IQ1"))

    @inline
    def eight(index):
        both = point(index)
        return concat(both & 0x03030303, (both >> 4) & 0x03030303)

    @inline
    def codes(points, tops):
        a, b, c, d = four_bytes(points, tops)
        mask = 0x700
        return four_of(
            eight(a | ((tops << 8) & mask)),
            eight(b | ((tops << 5) & mask)),
            eight(c | ((tops << 2) & mask)),
            eight(d | ((tops >> 1) & mask)),
        )

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        for i in range(8):
            fetch(p + 100 * i, 100)
            word = load_u16x16(p + 32 + 32 * i)
            scale = d * to_f32(((word >> 11) & 14) | 1)
            minus_delta = to_f32(word >> 15) * 0.25 - 0.125
            points = load_i32x16(p + 288 + 64 * i)
            state = update(state, codes(points, word), (scale,), (scale * minus_delta,), x)
            x += step
        return state

    return visit

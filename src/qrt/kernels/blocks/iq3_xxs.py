"""IQ3_XXS: d / 4 * (2 * scale + 1) * point * sign, points of 4 values, 7 signs for 8."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs, four_bytes
from qrt.kernels.blocks.points import signed_fours
from qrt.kernels.intrinsics import load_f16x16, load_i32x16, to_f32
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    codes = signed_fours("IQ3_XXS", four_bytes)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p) * 0.25
        for i in range(8):
            fetch(p + 196 * i, 196)
            signs, points = load_i32x16(p + 32 + 64 * i), p + 544 + 128 * i
            low, high = load_i32x16(points), load_i32x16(points + 64)
            scale = d * to_f32((signs >> 27) | 1)
            state = update(state, codes(low, high, low, even_signs(signs)), (scale,), (), x)
            x += step
        return state

    return visit

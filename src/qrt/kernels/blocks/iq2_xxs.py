"""IQ2_XXS: d / 8 * (2 * scale + 1) * point * sign, points of 8 values, 7 signs for 8."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs, four_bytes
from qrt.kernels.blocks.permuted import only_points
from qrt.kernels.blocks.points import signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16, to_f32
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    codes, numbers = signed_eights("IQ2_XXS", four_bytes, only_points)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p) * 0.125
        for i in range(8):
            fetch(p + 132 * i, 132)
            points, signs = load_i32x16(p + 32 + 128 * i), load_i32x16(p + 96 + 128 * i)
            scale = d * to_f32((signs >> 27) | 1)
            state = update(
                state, codes(numbers(points, points), even_signs(signs)), (scale,), (), x
            )
            x += step
        return state

    return visit

"""IQ2_XS: IQ2_XXS with a ninth bit of each point above the signs, scales for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs, four_bytes
from qrt.kernels.blocks.parts import odd_nibbles
from qrt.kernels.blocks.points import signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline


@inline
def nine_bits(points, tops):
    """The bytes of `points`, each under one of the four highest bits of `tops`."""
    a, b, c, d = four_bytes(points, tops)
    ninth = 0x100
    return (
        a | ((tops >> 20) & ninth),
        b | ((tops >> 21) & ninth),
        c | ((tops >> 22) & ninth),
        d | ((tops >> 23) & ninth),
    )


def build(update: Any, fetch: Any) -> Any:
    codes = signed_eights("IQ2_XS", nine_bits, (28, 29, 30, 31))

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p) * 0.125
        for i in range(8):
            fetch(p + 148 * i, 148)
            points, signs = load_i32x16(p + 160 + 128 * i), load_i32x16(p + 224 + 128 * i)
            words = load_i32x16(p + 32 + 64 * (i >> 2) + (i & 3))
            scales = d * odd_nibbles(words), d * odd_nibbles(words >> 4)
            state = update(state, codes(points, signs, even_signs(signs)), scales, (), x)
            x += step
        return state

    return visit

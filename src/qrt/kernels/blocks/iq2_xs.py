"""IQ2_XS: IQ2_XXS with points of nine bits, the last of each above the signs, and two scales."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs, four_bytes
from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.points import early, signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from


@inline
def nine_bits(points, tops):
    """The bytes of `points`, each under one of the highest bits of `tops`."""
    a, b, c, d = four_bytes(points, tops)
    mask = 0x100
    return (
        a | ((tops >> 20) & mask),
        b | ((tops >> 21) & mask),
        c | ((tops >> 22) & mask),
        d | ((tops >> 23) & mask),
    )


ninths = bytes_from(28, 29, 30, 31)


@inline
def in_words(points, tops):
    """The same as lookups want them."""
    return points, ninths(tops)


def build(update: Any, fetch: Any) -> Any:
    codes, numbers = signed_eights("IQ2_XS", nine_bits, in_words)

    @inline
    def at(p, i):
        """The numbers of four points, and the signs of 32 values."""
        points, signs = load_i32x16(p + 160 + 128 * i), load_i32x16(p + 224 + 128 * i)
        return numbers(points, signs), even_signs(signs)

    first, known = early(at)
    ask = in_a_row(fetch, 148)

    @inline
    def visit(state, p, x, step):
        d, following = load_f16x16(p) * 0.125, first(p)
        for i in range(8):
            ask(p + 148 * i)
            here, following = known(p, i, following)
            words = load_i32x16(p + 32 + 64 * (i >> 2) + (i & 3))
            scales = d * odd_nibbles(words), d * odd_nibbles(words >> 4)
            state = update(state, codes(here[0], here[1]), scales, (), x)
            x += step
        return state

    return visit

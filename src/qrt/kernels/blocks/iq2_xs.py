"""IQ2_XS: IQ2_XXS with points of nine bits, four of the last above the signs, and two scales."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import even_signs
from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.points import early, signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from


@inline
def nine_bits(points, tops):
    """Four times nine bits, of the last the lowest four on top of `tops`."""
    mask = 0x1FF
    return (
        points & mask,
        (points >> 9) & mask,
        (points >> 18) & mask,
        ((points >> 23) & 0x1F0) | (tops >> 28),
    )


eight_bits, ninths = bytes_from(0, 9, 18, 23), bytes_from(8, 17, 26, 31)


@inline
def in_words(points, tops):
    """The same as lookups want them."""
    mask = 0x0F000000
    return (eight_bits(points) & ~mask) | ((tops >> 4) & mask), ninths(points)


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

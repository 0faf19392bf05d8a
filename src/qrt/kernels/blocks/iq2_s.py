"""IQ2_S: d / 8 * (2 * scale + 1) * point * sign, points of 8 values and 10 bits."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import four_bytes
from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.points import early, signed_eights
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from


@inline
def ten_bits(points, tops):
    """The bytes of `points`, each under two bits of the lowest byte of `tops`."""
    a, b, c, d = four_bytes(points, tops)
    mask = 0x300
    return (
        a | ((tops << 8) & mask),
        b | ((tops << 6) & mask),
        c | ((tops << 4) & mask),
        d | ((tops << 2) & mask),
    )


two_above = bytes_from(0, 2, 4, 6)


@inline
def in_words(points, tops):
    """Numbers of ten bits as lookups want them."""
    return points, two_above(tops)


def build(update: Any, fetch: Any) -> Any:
    codes, numbers = signed_eights("IQ2_S", ten_bits, in_words)

    @inline
    def at(p, i):
        tops = load_i32x16(p + 160 + 64 * (i >> 2) + (i & 3))
        return numbers(load_i32x16(p + 800 + 64 * i), tops)

    first, known = early(at)
    ask = in_a_row(fetch, 164)

    @inline
    def visit(state, p, x, step):
        d, following = load_f16x16(p) * 0.125, first(p)
        for i in range(8):
            ask(p + 164 * i)
            here, following = known(p, i, following)
            signs = load_i32x16(p + 288 + 64 * i)
            words = load_i32x16(p + 32 + 64 * (i >> 2) + (i & 3))
            scales = d * odd_nibbles(words), d * odd_nibbles(words >> 4)
            state = update(state, codes(here, signs), scales, (), x)
            x += step
        return state

    return visit

"""IQ1_M: d * (2 * scale + 1) * (point + delta), scales for 16 values, a delta for each point.

Codes are eight times point and delta, and 9 more; `d` lies in the top bits of the words of scales.
A byte of what is gathered has two of 8 values.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.gathered import eights_by
from qrt.kernels.blocks.grids import eights, four_bytes
from qrt.kernels.blocks.parts import in_a_row
from qrt.kernels.blocks.points import early
from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import gather, half_f32, load_i32x16, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.permutes import lookup64


@inline
def low_codes(both):
    return (both << 1) & 0x1E1E1E1E


@inline
def high_codes(both):
    return (both >> 3) & 0x1E1E1E1E


def halves() -> Any:
    """codes(numbers) by halves of codes, a nibble each: four times the point and a bit of delta."""
    words = [4 * point + delta for delta in (0x11111111, 0) for point in eights("IQ1")]
    return eights_by(gather("halves_IQ1_M", words), low_codes, high_codes)


def looked_up() -> Any:
    """codes(numbers) by lookups of two points and, between them, a bit of delta."""
    words = [point + delta for delta in (0x44444444, 0) for point in eights("IQ1")]
    first, second = ([8 * (i >> at & 3) + 2 * (i >> 2 & 1) for i in range(64)] for at in (0, 4))
    return eights_by(gather("grid_IQ1_M", words), lookup64(first), lookup64(second))


@inline
def numbers(p, i):
    """The numbers of four points, each under the bit of its delta."""
    tops = load_i32x16(p + 128 + 64 * (i >> 1)) >> (16 * (i & 1))
    a, b, c, d = four_bytes(load_i32x16(p + 384 + 64 * i), tops)
    mask = 0xF00
    return (
        a | ((tops << 8) & mask),
        b | ((tops << 4) & mask),
        c | (tops & mask),
        d | ((tops >> 4) & mask),
    )


@inline
def odd_scale(words, shift):
    """2 * scale + 1 of three bits of each word."""
    return to_f32((((words >> shift) & 7) << 1) | 1)


def build(update: Any, fetch: Any) -> Any:
    codes = looked_up() if offers("lookup64") else halves()
    first, known = early("IQ1", numbers)
    ask = in_a_row(fetch, 112)

    @inline
    def visit(state, p, x, step):
        low, high = load_i32x16(p), load_i32x16(p + 64)
        lower = ((low >> 12) & 0x0F) | ((low >> 24) & 0xF0)
        d = half_f32(lower | ((high >> 4) & 0xF00) | ((high >> 16) & 0xF000)) * 0.125
        following = first(p)
        for i in range(8):
            ask(p + 112 * i)
            words = load_i32x16(p + 64 * (i >> 2)) >> (16 * ((i >> 1) & 1) + 6 * (i & 1))
            scales = d * odd_scale(words, 0), d * odd_scale(words, 3)
            here, following = known(p, i, following)
            state = update(state, codes(here), scales, (), x)
            x += step
        return state

    return visit

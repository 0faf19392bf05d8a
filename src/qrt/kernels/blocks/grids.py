"""What the IQ formats have in common: points of a grid gathered from memory, and their signs.

Signs lie as `pack` sorts them: that of element 4 g + b in bit 8 b + g / 2 of a word for even g, in
bit 8 b + 4 + g / 2 for odd g.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qrt.formats.quants.grids import LEVELS, levels
from qrt.kernels.intrinsics import gather, lookup
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


def eights(name: str) -> list[int]:
    """A grid of 8 levels a point as words: the first four in the low nibbles, the others above."""
    points = levels(name)
    return (points[:, :4] | points[:, 4:] << 4).copy().view("<u4").ravel().tolist()


def fours(name: str) -> list[int]:
    """A grid of 4 levels a point as words, a byte each."""
    return np.ascontiguousarray(levels(name)).view("<u4").ravel().tolist()


def signed(name: str, size: int) -> Any:
    """A lookup of bytes: a level below `size`, and `size` more where its number is negative; the
    codes begin with 0 for the largest.
    """
    numbers = LEVELS[name]
    table = [0] * 16
    for level, number in enumerate(numbers):
        table[level], table[size + level] = numbers[-1] + number, numbers[-1] - number
    return lookup(tuple(table))


@inline
def four_of(a, b, c, d):
    """Four vectors side by side."""
    return concat(concat(a, b), concat(c, d))


@inline
def even_signs(word):
    """The signs of 32 values; the eighth of each 8, where other bits lie, makes them even."""
    bits = word & 0x0FFFFFFF
    odd = bits ^ (bits >> 4)
    odd = odd ^ (odd >> 16)
    odd = odd ^ (odd >> 8)
    return bits | (odd << 28)


def signed_eights(name: str) -> Any:
    """codes(points, signs): the codes of 32 values from four points of 8."""
    point, code = gather(f"grid_{name}", eights(name)), signed(name, 4)

    @inline
    def eight(index, signs):
        """`signs`: those of 8 values, in bits 2 and 6 of each byte."""
        both = point(index) | (signs & 0x44444444)
        return code(concat(both & 0x0F0F0F0F, (both >> 4) & 0x0F0F0F0F))

    @inline
    def codes(points, signs):
        return four_of(
            eight(points[0], signs << 2),
            eight(points[1], signs << 1),
            eight(points[2], signs),
            eight(points[3], signs >> 1),
        )

    return codes


def signed_fours(name: str) -> Any:
    """codes(low, high, signs): the codes of 32 values from eight points of 4.

    `low` and `high` are four numbers of points each.
    """
    point, code = gather(f"grid_{name}", fours(name)), signed(name, 8)
    bit = 0x08080808

    @inline
    def codes(low, high, signs):
        first = four_of(
            point(low[0]) | ((signs << 3) & bit),
            point(low[1]) | ((signs >> 1) & bit),
            point(low[2]) | ((signs << 2) & bit),
            point(low[3]) | ((signs >> 2) & bit),
        )
        second = four_of(
            point(high[0]) | ((signs << 1) & bit),
            point(high[1]) | ((signs >> 3) & bit),
            point(high[2]) | (signs & bit),
            point(high[3]) | ((signs >> 4) & bit),
        )
        return code(concat(first, second))

    return codes


@inline
def four_bytes(word):
    """The bytes of a word, the lowest first."""
    return word & 0xFF, (word >> 8) & 0xFF, (word >> 16) & 0xFF, word >> 24

"""What the IQ formats have in common: tables of their grids' points, and signs.

Signs lie as `pack` sorts them: that of element 4 g + b in bit 8 b + g / 2 of a word for even g, in
bit 8 b + 4 + g / 2 for odd g.
"""

from __future__ import annotations

import numpy as np

from qrt.formats.quants.grids import LEVELS, levels
from qrt.kernels.jit import inline
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.shuffles import concat, lower_half, upper_half


def eights(name: str) -> list[int]:
    """A grid of 8 levels a point as words: the first four in the low nibbles, the others above."""
    points = levels(name)
    return (points[:, :4] | points[:, 4:] << 4).copy().view("<u4").ravel().tolist()


def fours(name: str) -> list[int]:
    """A grid of 4 levels a point as words, a byte each."""
    return np.ascontiguousarray(levels(name)).view("<u4").ravel().tolist()


def signed_codes(name: str, size: int) -> tuple[int, ...]:
    """Codes of the levels below `size`, then those where their numbers are negative."""
    zero, numbers = PANEL_FORMATS[name].zero, np.zeros(size, np.int64)
    numbers[: len(LEVELS[name])] = LEVELS[name]
    return (*(zero + numbers).tolist(), *(zero - numbers).tolist())


@inline
def four_of(a, b, c, d):
    """Four vectors side by side."""
    return concat(concat(a, b), concat(c, d))


@inline
def fourth(vectors, i):
    """Vector i of these."""
    half = lower_half(vectors) if i < 2 else upper_half(vectors)
    return upper_half(half) if i & 1 else lower_half(half)


@inline
def even_signs(word):
    """The signs of 32 values; the eighth of each 8, where other bits lie, makes them even."""
    odd = word ^ (word << 4)
    odd = odd ^ (odd << 16)
    odd = odd ^ (odd << 8)
    return word ^ (odd & ~0x0FFFFFFF)


@inline
def four_bytes(word, tops):
    """The bytes of a word, the lowest first."""
    return word & 0xFF, (word >> 8) & 0xFF, (word >> 16) & 0xFF, word >> 24

"""Points of the IQ grids found by permutes of bytes, for tiers that have these.

The bytes of a small grid's points stand in registers: a lookup of 64 bytes takes a cycle, and a
gather of 16 words six to eight. What a last lookup makes of an element has its level in the lowest
bits and its sign in one above, wherever it lies; other bits do not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.formats.quants.grids import levels
from qrt.kernels.blocks.grids import four_of, signed_codes
from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import gather
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from, long_lookups, lookup64
from qrt.kernels.shuffles import concat


def looks_up(name: str) -> bool:
    """Whether the points of 8 of a grid are looked up: those of large ones are better gathered."""
    most = 512 if offers("lookup128") else 256 if offers("lookup64") else 0
    return len(levels(name)) <= most


def signed(name: str, bits: int, at: int, start: int = 0) -> Any:
    """codes(elements, signs): levels in `bits` of bytes from bit `start` on, signs in bit `at`."""
    table = signed_codes(name, 1 << bits)
    code = lookup64([table[(i >> start) % (1 << bits) | (i >> at & 1) << bits] for i in range(64)])
    mask = 0x01010101 << at

    @inline
    def codes(elements, signs):
        return code((elements & ~mask) | (signs & mask))

    return codes


def packed(points: NDArray[np.uint8], bits: int) -> list[list[int]]:
    """The first halves of points (n, 16 / bits) packed into a byte each, and the second."""
    places = 1 << np.arange(0, 8, bits)
    tables: list[list[int]] = (points.reshape(len(points), 2, -1) @ places).T.tolist()
    return tables


@inline
def only_points(points, tops):
    """Numbers of eight bits as they lie."""
    return points, points


def signed_eights(name: str, in_words: Any) -> tuple[Any, Any]:
    """codes(found, signs) as `gathered` has it, and found(points, tops), its first and its second
    halves of points; in_words(points, tops) gives a word of four low bytes of numbers, and one of
    what is above them.
    """
    points = levels(name)
    both = long_lookups(*packed(points, 2))
    a, b, c, d = (bytes_from(at, at + 2, at + 4, at + 6) for at in (0, 8, 16, 24))
    sign_2, sign_3, sign_4, sign_5 = (signed(name, 2, at) for at in (2, 3, 4, 5))

    @inline
    def found(points, tops):
        low, above = in_words(points, tops)
        return both(low, above)

    @inline
    def codes(found, signs):
        low, high = found
        up, down = signs << 2, signs >> 2
        return four_of(
            concat(sign_2(a(low), up), sign_4(a(high), signs)),
            concat(sign_3(b(low), up), sign_5(b(high), signs)),
            concat(sign_2(c(low), signs), sign_4(c(high), down)),
            concat(sign_3(d(low), signs), sign_5(d(high), down)),
        )

    return codes, found


def gathered_eights(name: str) -> Any:
    """codes(numbers, signs) for grids too large for registers.

    A byte of a word has two elements: the sum of one level and three times the other in bits 0, 2,
    3 and 4, signs in bits 1 and 5.
    """
    points = levels(name).astype(np.uint8)
    both = points[:, :4] + 3 * points[:, 4:]
    words = (both & 1 | both >> 1 << 2).view("<u4").ravel().tolist()
    table = signed_codes(name, 3)
    low, high = [], []
    for i in range(64):
        second, first = divmod(i & 1 | (i >> 2 & 7) << 1, 3)
        low.append(table[first + 3 * (i >> 1 & 1)])
        high.append(table[second % 3 + 3 * (i >> 5)])
    point, low_code, high_code = gather(f"pairs_{name}", words), lookup64(low), lookup64(high)

    @inline
    def eight(index, signs):
        elements = point(index) | (signs & 0x22222222)
        return concat(low_code(elements), high_code(elements))

    @inline
    def codes(numbers, signs):
        a, b, c, d = numbers
        return four_of(
            eight(a, signs << 1),
            eight(b, signs),
            eight(c, signs >> 1),
            eight(d, signs >> 2),
        )

    return codes


def signed_fours(name: str) -> Any:
    """codes(low, high, tops, signs) as `gathered` has it."""
    points = levels(name)
    both = long_lookups(*packed(points, 4))
    lower, upper = bytes_from(0, 4, 8, 12), bytes_from(16, 20, 24, 28)
    sign_3, sign_4, sign_5 = (signed(name, 3, at) for at in (3, 4, 5))
    low_ninths, high_ninths = bytes_from(0, 1, 2, 3), bytes_from(4, 5, 6, 7)
    even = 0x00FF00FF

    @inline
    def halves(points, ninths):
        """16 bits a point: the first and the third, the second and the fourth."""
        low, high = both(points, ninths)
        return (low & even) | ((high << 8) & ~even), ((low >> 8) & even) | (high & ~even)

    @inline
    def codes(low, high, tops, signs):
        up, down = signs << 3, signs >> 2
        a, b = halves(low, low_ninths(tops))
        c, d = halves(high, high_ninths(tops))
        return four_of(
            concat(sign_3(lower(a), up), sign_4(lower(b), signs)),
            concat(sign_4(upper(a), up), sign_5(upper(b), signs)),
            concat(sign_5(lower(c), up), sign_4(lower(d), down)),
            concat(sign_3(upper(c), signs), sign_5(upper(d), down)),
        )

    return codes

"""Points of the IQ grids gathered from memory, and what becomes of them with lookups of nibbles."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import eights, four_of, fours, signed_codes
from qrt.kernels.intrinsics import gather, lookup
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


def signed_eights(name: str) -> Any:
    """codes(numbers, signs): the codes of 32 values from the numbers of four points of 8."""
    point, code = gather(f"grid_{name}", eights(name)), lookup((*signed_codes(name, 4), *[0] * 8))

    @inline
    def eight(index, signs):
        """`signs`: those of 8 values, in bits 2 and 6 of each byte."""
        both = point(index) | (signs & 0x44444444)
        return code(concat(both & 0x0F0F0F0F, (both >> 4) & 0x0F0F0F0F))

    @inline
    def codes(numbers, signs):
        a, b, c, d = numbers
        return four_of(
            eight(a, signs << 2),
            eight(b, signs << 1),
            eight(c, signs),
            eight(d, signs >> 1),
        )

    return codes


def signed_fours(name: str, indices: Any) -> Any:
    """codes(low, high, tops, signs): the codes of 32 values from eight points of 4.

    indices(low, tops) and indices(high, tops >> 4) are the numbers of four points each.
    """
    point, code = gather(f"grid_{name}", fours(name)), lookup(signed_codes(name, 8))
    bit = 0x08080808

    @inline
    def codes(low, high, tops, signs):
        a, b, c, d = indices(low, tops)
        first = four_of(
            point(a) | ((signs << 3) & bit),
            point(b) | ((signs >> 1) & bit),
            point(c) | ((signs << 2) & bit),
            point(d) | ((signs >> 2) & bit),
        )
        a, b, c, d = indices(high, tops >> 4)
        second = four_of(
            point(a) | ((signs << 1) & bit),
            point(b) | ((signs >> 3) & bit),
            point(c) | (signs & bit),
            point(d) | ((signs >> 4) & bit),
        )
        return code(concat(first, second))

    return codes

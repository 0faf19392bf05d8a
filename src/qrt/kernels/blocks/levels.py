"""Points of 8 values as digits of base 3, which have three levels, and digits as fractions."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import eights, four_of
from qrt.kernels.intrinsics import gather
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat, lower_half, upper_half


def digits_of(name: str) -> Any:
    """An inline function of the numbers of four points of a grid: their 32 levels."""
    point = gather(f"grid_{name}", eights(name))

    @inline
    def eight(number):
        both = point(number)
        return concat(both & 0x03030303, (both >> 4) & 0x03030303)

    @inline
    def digits(a, b, c, d):
        return four_of(eight(a), eight(b), eight(c), eight(d))

    return digits


@inline
def in_base_3(digits):
    """The numbers that four vectors of digits are, the first uppermost."""
    low, high = lower_half(digits), upper_half(digits)
    first_three = 3 * (3 * lower_half(low) + upper_half(low)) + lower_half(high)
    return 3 * first_three + upper_half(high)


@inline
def rounded_up(number):
    """A number below 243 as a fraction of 256, rounded up."""
    return ((256 * number + 242) * 8631) >> 21


@inline
def fractions(numbers):
    """The same of the four bytes of each word."""
    low = rounded_up(numbers & 0xFF) | (rounded_up((numbers >> 8) & 0xFF) << 8)
    high = rounded_up((numbers >> 16) & 0xFF) | (rounded_up(numbers >> 24) << 8)
    return low | (high << 16)

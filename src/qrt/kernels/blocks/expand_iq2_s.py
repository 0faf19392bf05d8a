"""Panels of IQ2_S whose points have become digits, which lie as signed_digits.py says.

They take 1.2 times the bytes. `d` stands in front, and the two scales of 32 values beside these.
"""

from __future__ import annotations

from qrt.kernels.blocks.grids import four_bytes
from qrt.kernels.blocks.levels import digits_of, fractions, in_base_3
from qrt.kernels.blocks.signed_digits import DIGITS, RUN, SIGN_AT
from qrt.kernels.intrinsics import load_i32x16, store
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import lower_half, move_bits, upper_half

digits_of_iq2_s = digits_of("IQ2_S")


@inline
def ten_bits(points, tops):
    """The bytes of `points`, each under two bits of the lowest byte of `tops`."""
    a, b, c, d = four_bytes(points, tops)
    return (
        a | ((tops << 8) & 0x300),
        b | ((tops << 6) & 0x300),
        c | ((tops << 4) & 0x300),
        d | ((tops << 2) & 0x300),
    )


@inline
def four_digits(digits):
    """Four digits a byte, as fractions of 128, rounded up, of their numbers below 81."""
    return ((fractions(3 * in_base_3(digits)) + 0x01010101) >> 1) & 0x7F7F7F7F


order = [
    6 * b + at if at < 6 else 32 * (1 + g // 4) + 8 * b + at
    for g, at in enumerate(SIGN_AT)
    for b in range(4)
]
"""Where the sign of element 4 g + b goes: into the first word, or into the second or the third."""

signs_of_first, signs_of_second, signs_of_third = (move_bits(order, i) for i in range(3))


@inline
def expand_iq2_s(p, target):
    store(target, load_i32x16(p))  # d is half of it
    target += 32
    for i in range(8):
        tops = load_i32x16(p + 160 + 64 * (i >> 2) + (i & 3))
        a, b, c, d = ten_bits(load_i32x16(p + 800 + 64 * i), tops)
        digits = digits_of_iq2_s(a, b, c, d)
        signs = load_i32x16(p + 288 + 64 * i)
        scales = load_i32x16(p + 32 + 64 * (i >> 2) + (i & 3))
        store(target, signs_of_first(signs) | (scales << 24))
        store(target + DIGITS, four_digits(lower_half(digits)) | signs_of_second(signs))
        store(target + DIGITS + 64, four_digits(upper_half(digits)) | signs_of_third(signs))
        target += RUN

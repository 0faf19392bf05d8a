"""Runs of 32 signed values of three magnitudes, and a byte beside them, in 12 bytes.

Two words have 32 digits of base 3: byte b of word j those of elements 16 j + 4 n + b, for n from 0
to 3, as a fraction of 128, the first uppermost. In front of them stands a word of signs, 6 bits for
each b, at SIGN_AT of 4 j + n; those of the last n are the top bits of the digits' bytes. The byte
is the top one of that word.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.digits import multiplied
from qrt.kernels.blocks.grids import four_of, signed_codes
from qrt.kernels.blocks.permuted import signed
from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import load_i32x16, load_i32x32, lookup
from qrt.kernels.jit import inline
from qrt.kernels.permutes import bytes_from, long_lookups
from qrt.kernels.shuffles import concat, lower_half, upper_half

SIGN_AT = (2, 4, 0, 7, 3, 5, 1, 7)
"""Bits of signs: where the digits of the same n are not when four are found side by side."""

DIGITS, RUN = 64, 192
"""Where the digits of 16 rows begin, and the bytes of a run."""


def by_lookups(name: str) -> Any:
    """codes(p) of 32 values from p on."""
    table = [sum((2 * i * 3**n % 256 * 3 >> 8) << 2 * n for n in range(4)) for i in range(128)]
    found, apart = long_lookups(table), bytes_from(0, 6, 12, 18)
    a, b, c, e, f, g = (signed(name, 2, SIGN_AT[i], 2 * (i % 4)) for i in (0, 1, 2, 4, 5, 6))
    last, by_two = signed(name, 2, 5, 2), bytes_from(2, 10, 18, 26)
    by_four = bytes_from(4, 12, 20, 28)

    @inline
    def codes(p):
        words = load_i32x32(p + DIGITS)
        (digits,) = found(words, words)
        signs, low, high = apart(load_i32x16(p)), lower_half(digits), upper_half(digits)
        last_signs, last_digits = by_two(words), by_four(digits)
        d = last(lower_half(last_digits), lower_half(last_signs))
        h = last(upper_half(last_digits), upper_half(last_signs))
        return four_of(
            concat(a(low, signs), b(low, signs)),
            concat(c(low, signs), d),
            concat(e(high, signs), f(high, signs)),
            concat(g(high, signs), h),
        )

    return codes


def by_products(name: str) -> Any:
    """The same without permutes of bytes."""
    code, bit = lookup((*signed_codes(name, 4), *[0] * 8)), 0x04040404  # the sign's

    @inline
    def four(words, a, b, c, d):
        """Codes of a word's digits and four signs."""
        words = (words << 1) & ~0x01010101
        return code(
            four_of(
                multiplied(words, 1) | (a & bit),
                multiplied(words, 3) | (b & bit),
                multiplied(words, 9) | (c & bit),
                multiplied(words, 27) | (d & bit),
            )
        )

    @inline
    def codes(p):
        word, low, high = load_i32x16(p), load_i32x16(p + DIGITS), load_i32x16(p + DIGITS + 64)
        signs = (word & 0x3F) | ((word << 2) & 0x3F00)
        signs = signs | ((word << 4) & 0x3F0000) | ((word << 6) & 0x3F000000)
        return concat(
            four(low, signs, signs >> 2, signs << 2, low >> 5),
            four(high, signs >> 1, signs >> 3, signs << 1, high >> 5),
        )

    return codes


def signed_digits(name: str) -> Any:
    """codes(p) of 32 values from p on, for the three levels of a grid."""
    return by_lookups(name) if offers("lookup64") else by_products(name)

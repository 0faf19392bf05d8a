"""Panels of IQ1 whose points have become digits, which lie as digits.py says.

They take 1.14 to 1.16 times the bytes. In front of a row's digits stand its scales and the signs of
its deltas.
"""

from __future__ import annotations

from qrt.kernels.blocks.digits import DIGITS, LAST_DIGITS
from qrt.kernels.blocks.grids import four_bytes
from qrt.kernels.blocks.levels import digits_of, fractions, in_base_3
from qrt.kernels.intrinsics import load_i32x16, load_i32x64, load_i32x128, load_u16x16, store
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import lower_half, upper_half

digits_of_iq1 = digits_of("IQ1")


@inline
def eleven_bits(points, tops, apart):
    """The numbers of four points: eight bits of each and three of `tops`, each three `apart`."""
    a, b, c, d = four_bytes(points, tops)
    tops = (tops & 0xFFFF) << 8
    return (
        a | (tops & 0x700),
        b | ((tops >> apart) & 0x700),
        c | ((tops >> (2 * apart)) & 0x700),
        d | ((tops >> (3 * apart)) & 0x700),
    )


@inline
def put(at, run, digits):
    """32 of 256 values, run by run, as digits at `at`; see formats.quants.tq1_0."""
    first, second = lower_half(digits), upper_half(digits)
    if run == 0:
        store(at + DIGITS, digits)
    elif run < 5:
        store(at + DIGITS, 3 * load_i32x128(at + DIGITS) + digits)
    elif run == 5:
        store(at + LAST_DIGITS, 3 * first + second)
    elif run == 6:
        store(at + LAST_DIGITS, 3 * (3 * load_i32x64(at + LAST_DIGITS) + first) + second)
    else:
        store(at + LAST_DIGITS, fractions(3 * load_i32x64(at + LAST_DIGITS) + first))
        store(at, fractions(3 * in_base_3(second)))
    if run == 4:
        store(at + DIGITS, fractions(load_i32x128(at + DIGITS)))


@inline
def expand_iq1_s(p, target):
    """d, nibbles of scale and whether delta is positive, digits."""
    store(target, load_i32x16(p))  # d is half of it
    nibbles = load_u16x16(p + 32) & 0
    for i in range(8):
        tops = load_u16x16(p + 32 + 32 * i)
        nibbles = nibbles | ((((tops >> 11) & 14) | (((tops >> 15) ^ 1) & 1)) << (4 * i))
        a, b, c, d = eleven_bits(load_i32x16(p + 288 + 64 * i), tops, 3)
        put(target + 96, i, digits_of_iq1(a, b, c, d))
    store(target + 32, nibbles)


@inline
def fourth_bits(word):
    """Bits 3, 7, 11 and so on side by side."""
    word = (word >> 3) & 0x11111111
    word = (word | (word >> 3)) & 0x03030303
    word = (word | (word >> 6)) & 0x000F000F
    return (word | (word >> 12)) & 0xFF


@inline
def expand_iq1_m(p, target):
    """Scales and d as they are, whether each delta is positive, digits."""
    store(target, load_i32x16(p))
    store(target + 64, load_i32x16(p + 64))
    negative = load_i32x16(p) & 0
    for i in range(8):
        tops = load_i32x16(p + 128 + 64 * (i >> 1)) >> (16 * (i & 1))
        a, b, c, d = eleven_bits(load_i32x16(p + 384 + 64 * i), tops, 4)
        put(target + 192, i, digits_of_iq1(a, b, c, d))
        negative = negative | (fourth_bits(tops & 0xFFFF) << (4 * i))
    store(target + 128, ~0 ^ negative)

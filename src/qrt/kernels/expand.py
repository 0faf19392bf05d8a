"""Panels of IQ1 laid out anew: points of 8 values, of -1, 0 and 1, become digits of base 3.

They take 1.14 to 1.16 times the bytes. In front of a row's digits, which lie as blocks/digits.py
says, stand its scales and the signs of its deltas.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.digits import DIGITS, LAST_DIGITS
from qrt.kernels.blocks.grids import eights, four_bytes, four_of
from qrt.kernels.intrinsics import (
    gather,
    load_i32x16,
    load_i32x64,
    load_i32x128,
    load_i64,
    load_u16x16,
    store,
)
from qrt.kernels.jit import inline
from qrt.kernels.layout import EXPAND
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.shuffles import concat, lower_half, upper_half

point = gather("grid_IQ1", eights("IQ1"))


@inline
def eight(number):
    """Digits of a point: 8 values and one."""
    both = point(number)
    return concat(both & 0x03030303, (both >> 4) & 0x03030303)


@inline
def digits_of(points, tops, apart):
    """32 digits from the lower eight bits of four points, and `tops`, each three `apart`."""
    a, b, c, d = four_bytes(points, tops)
    tops = (tops & 0xFFFF) << 8
    return four_of(
        eight(a | (tops & 0x700)),
        eight(b | ((tops >> apart) & 0x700)),
        eight(c | ((tops >> (2 * apart)) & 0x700)),
        eight(d | ((tops >> (3 * apart)) & 0x700)),
    )


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
        low, high = lower_half(second), upper_half(second)
        four = 3 * (3 * lower_half(low) + upper_half(low)) + lower_half(high)
        store(at, fractions(3 * (3 * four + upper_half(high))))
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
        put(target + 96, i, digits_of(load_i32x16(p + 288 + 64 * i), tops, 3))
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
        put(target + 192, i, digits_of(load_i32x16(p + 384 + 64 * i), tops, 4))
        negative = negative | (fourth_bits(tops & 0xFFFF) << (4 * i))
    store(target + 128, ~0 ^ negative)


BLOCKS = {"IQ1_S": expand_iq1_s, "IQ1_M": expand_iq1_m}


def build(qtype: str) -> Any:
    fmt, block = PANEL_FORMATS[qtype], BLOCKS[qtype]
    size, panel_bytes = 16 * fmt.block_bytes, fmt.panel_bytes

    def expand(step, args, thread, n_threads):
        n_panels, n_blocks = load_i64(args + EXPAND.n_panels), load_i64(args + EXPAND.n_blocks)
        first, end = n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads
        source, target = load_i64(args + EXPAND.source), load_i64(args + EXPAND.target)
        for i in range(first * n_blocks, end * n_blocks):
            block(source + i * size, target + i * panel_bytes)

    return expand

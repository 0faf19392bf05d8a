"""256 digits of base 3 in 52 bytes, up to five a byte; see formats.quants.tq1_0 for their order.

The 4 bytes of each row that have the last 16 stand first, then the others.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import load_i32x16, load_i32x64, load_i32x128
from qrt.kernels.jit import inline
from qrt.kernels.permutes import long_lookups
from qrt.kernels.shuffles import concat

DIGITS, LAST_DIGITS = 64, 576
"""Where the bytes of runs 0 to 4 of 32 values begin, and of runs 5 to 7."""


@inline
def multiplied(words, power):
    """The digit n of every byte, for power = 3**n: even and odd bytes apart, 16 bits for each."""
    even, odd = words & 0x00FF00FF, (words >> 8) & 0x00FF00FF
    even, odd = (even * power) & 0x00FF00FF, (odd * power) & 0x00FF00FF
    return (((3 * even) >> 8) & 0x00030003) | ((3 * odd) & 0x03000300)


def by_products() -> tuple[Any, list[Any]]:
    """opened(words) for digit n(words, opened) of every byte, for each n of five."""

    def digit(n: int) -> Any:
        power = 3**n

        @inline
        def one(words, opened):
            return multiplied(words, power)

        return one

    @inline
    def opened(words):
        return 0

    return opened, [digit(n) for n in range(5)]


def by_lookups() -> tuple[Any, list[Any]]:
    """The same where four digits are found side by side, and the fifth by itself."""
    digits = [[i * 3**n % 256 * 3 >> 8 for n in range(5)] for i in range(256)]
    early = [a | b << 2 | c << 4 | d << 6 for a, b, c, d, _ in digits]
    both = long_lookups(early, [each[4] for each in digits])

    def digit(n: int) -> Any:
        shift = 2 * n

        @inline
        def one(words, opened):
            return (opened[0] >> shift) & 0x03030303

        return one

    @inline
    def opened(words):
        return both(words, words)

    @inline
    def last(words, opened):
        return opened[1]

    return opened, [*(digit(n) for n in range(4)), last]


def walk(use: Any) -> Any:
    """visit(state, p, d, digits, x, step): state = use(state, p, d, run, codes, x) for each run of
    32 of the values whose digits are at `digits`; d: of all of them.

    It is not a loop, so that what `use` does with a run's number is done by the compiler.
    """
    opened, digits_of = by_lookups() if offers("lookup64") else by_products()
    one, two, three, four, five = digits_of

    @inline
    def visit(state, p, d, digits, x, step):
        words = load_i32x128(digits + DIGITS)
        known = opened(words)
        state = use(state, p, d, 0, one(words, known), x)
        state = use(state, p, d, 1, two(words, known), x + step)
        state = use(state, p, d, 2, three(words, known), x + 2 * step)
        state = use(state, p, d, 3, four(words, known), x + 3 * step)
        state = use(state, p, d, 4, five(words, known), x + 4 * step)
        half = load_i32x64(digits + LAST_DIGITS)
        of_half = opened(half)
        codes = concat(one(half, of_half), two(half, of_half))
        state = use(state, p, d, 5, codes, x + 5 * step)
        codes = concat(three(half, of_half), four(half, of_half))
        state = use(state, p, d, 6, codes, x + 6 * step)
        word = load_i32x16(digits)
        of_word = opened(word)
        low = concat(one(word, of_word), two(word, of_word))
        high = concat(three(word, of_word), four(word, of_word))
        codes = concat(five(half, of_half), concat(low, high))
        return use(state, p, d, 7, codes, x + 7 * step)

    return visit

"""IQ1_M as `expand` lays it out: d * (2 * scale + 1) * (digit - 1 + delta), scales for 16 values, a
delta of +-1/8 for 8.

Codes are eight times digit and delta, and 1 more; `d` lies in the top bits of the words of scales.
Behind these a word has a bit for 8 values, set where delta is positive.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.digits import walk
from qrt.kernels.blocks.grids import four_of
from qrt.kernels.blocks.parts import floats, in_a_row
from qrt.kernels.intrinsics import half_f32, load_i32x16, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def _odd(words):
    return to_f32(((words << 1) & 14) | 1)


odd_scale = floats([i << 1 & 14 | 1 for i in range(16)], _odd)
"""2 * scale + 1 of the lowest three bits of each word."""


@inline
def two_where(bits):
    """2 for each of 8 values where the lowest bit is set."""
    twos = (0 - (bits & 1)) & 0x02020202
    return concat(twos, twos)


def build(update: Any, fetch: Any) -> Any:
    ask = in_a_row(fetch, 128)

    @inline
    def use(state, p, d, run, codes, x):
        ask(p + 128 * run)
        words = load_i32x16(p + 64 * (run >> 2)) >> (16 * ((run >> 1) & 1) + 6 * (run & 1))
        scales = d * odd_scale(words), d * odd_scale(words >> 3)
        up = load_i32x16(p + 128) >> (4 * run)
        deltas = four_of(two_where(up), two_where(up >> 1), two_where(up >> 2), two_where(up >> 3))
        return update(state, (codes << 3) | deltas, scales, (), x)

    digits = walk(use)

    @inline
    def visit(state, p, x, step):
        low, high = load_i32x16(p), load_i32x16(p + 64)
        lower = ((low >> 12) & 0x0F) | ((low >> 24) & 0xF0)
        d = half_f32(lower | ((high >> 4) & 0xF00) | ((high >> 16) & 0xF000)) * 0.125
        return digits(state, p, d, p + 192, x, step)

    return visit

"""IQ1_S as `expand` lays it out: d * (2 * scale + 1) * (digit - 1 + delta), delta +-1/8.

A nibble for 32 values has the scale above a bit that is set where delta is positive.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.digits import walk
from qrt.kernels.blocks.parts import floats, in_a_row
from qrt.kernels.intrinsics import as_f32, load_f16x16, load_i32x16, to_f32
from qrt.kernels.jit import inline

EIGHTH, SIGN = 0x3E000000, ~0x7FFFFFFF
"""Of a float: 1/8, and the bit of its sign."""


@inline
def _odd(nibble):
    return to_f32((nibble & 14) | 1)


odd_scale = floats([i & 14 | 1 for i in range(16)], _odd)
"""2 * scale + 1 of a nibble."""


def build(update: Any, fetch: Any) -> Any:
    ask = in_a_row(fetch, 116)

    @inline
    def use(state, p, d, run, codes, x):
        ask(p + 116 * run)
        nibble = load_i32x16(p + 32) >> (4 * run)
        scale = d * odd_scale(nibble)
        minus_delta = as_f32(((nibble << 31) & SIGN) | EIGHTH)
        return update(state, codes, (scale,), (scale * minus_delta,), x)

    digits = walk(use)

    @inline
    def visit(state, p, x, step):
        return digits(state, p, load_f16x16(p), p + 96, x, step)

    return visit

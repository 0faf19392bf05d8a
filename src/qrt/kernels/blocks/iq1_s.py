"""IQ1_S: d * (2 * scale + 1) * (point + delta), points of 8 values from -1 to 1, delta +-1/8."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.gathered import eights_by
from qrt.kernels.blocks.grids import eights, four_bytes
from qrt.kernels.blocks.parts import in_a_row
from qrt.kernels.blocks.points import early
from qrt.kernels.instructions import offers
from qrt.kernels.intrinsics import as_f32, gather, load_f16x16, load_i32x16, load_u16x16, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.permutes import lookup64

EIGHTH, SIGN = 0x3E000000, ~0x7FFFFFFF
"""Of a float: 1/8, and the bit of its sign."""


@inline
def low_codes(both):
    return both & 0x03030303


@inline
def high_codes(both):
    return (both >> 4) & 0x03030303


@inline
def numbers(p, i):
    """The numbers of four points."""
    points, tops = load_i32x16(p + 288 + 64 * i), load_u16x16(p + 32 + 32 * i)
    a, b, c, d = four_bytes(points, tops)
    mask = 0x700
    return (
        a | ((tops << 8) & mask),
        b | ((tops << 5) & mask),
        c | ((tops << 2) & mask),
        d | ((tops >> 1) & mask),
    )


def build(update: Any, fetch: Any) -> Any:
    upper = lookup64([i >> 4 for i in range(64)]) if offers("lookup64") else high_codes
    codes = eights_by(gather("grid_IQ1", eights("IQ1")), low_codes, upper)
    first, known = early("IQ1", numbers)
    ask = in_a_row(fetch, 100)

    @inline
    def visit(state, p, x, step):
        d, following = load_f16x16(p), first(p)
        for i in range(8):
            ask(p + 100 * i)
            word = load_u16x16(p + 32 + 32 * i)
            scale = d * to_f32(((word >> 11) & 14) | 1)
            minus_delta = as_f32((((word ^ 0x8000) << 16) & SIGN) | EIGHTH)
            here, following = known(p, i, following)
            state = update(state, codes(here), (scale,), (scale * minus_delta,), x)
            x += step
        return state

    return visit

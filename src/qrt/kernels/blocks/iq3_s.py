"""IQ3_S: d * (2 * scale + 1) * point * sign, points of 4 values and 9 bits."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import four_bytes
from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.points import signed_fours
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline


@inline
def nine_bits(points, tops):
    """The bytes of `points`, each under one of the four lowest bits of `tops`."""
    a, b, c, d = four_bytes(points, tops)
    ninth = 0x100
    return (
        a | ((tops << 8) & ninth),
        b | ((tops << 7) & ninth),
        c | ((tops << 6) & ninth),
        d | ((tops << 5) & ninth),
    )


def build(update: Any, fetch: Any) -> Any:
    codes = signed_fours("IQ3_S", nine_bits)
    ask = in_a_row(fetch, 220)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        words = load_i32x16(p + 32)
        for i in range(8):
            ask(p + 220 * i)
            signs, points = load_i32x16(p + 224 + 64 * i), p + 736 + 128 * i
            tops = load_i32x16(p + 96 + 64 * (i >> 2) + (i & 3))
            low, high = load_i32x16(points), load_i32x16(points + 64)
            scale = d * odd_nibbles(words)
            state = update(state, codes(low, high, tops, signs), (scale,), (), x)
            words = words >> 4
            x += step
        return state

    return visit

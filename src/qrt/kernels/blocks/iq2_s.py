"""IQ2_S as `expand` lays it out: d / 8 * (2 * scale + 1) * magnitude * sign.

The scales of 32 values, of 4 bits for each 16, are the byte beside these.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import in_a_row, odd_nibbles
from qrt.kernels.blocks.signed_digits import RUN, signed_digits
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    codes, ask = signed_digits("IQ2_S"), in_a_row(fetch, 196)

    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p) * 0.125
        for i in range(8):
            ask(p + 196 * i)
            at = p + 32 + RUN * i
            words = load_i32x16(at)
            scales = d * odd_nibbles(words >> 24), d * odd_nibbles(words >> 28)
            state = update(state, codes(at), scales, (), x)
            x += step
        return state

    return visit

"""Q1_0: scale * (2 * bit - 1), 32 values a word."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def doubled_bits(v):
    """32 codes of 0 and 2, from words whose bit 8 b + g belongs to element 4 g + b."""
    twos = 0x02020202
    low = concat(
        concat((v << 1) & twos, v & twos),
        concat((v >> 1) & twos, (v >> 2) & twos),
    )
    high = concat(
        concat((v >> 3) & twos, (v >> 4) & twos),
        concat((v >> 5) & twos, (v >> 6) & twos),
    )
    return concat(low, high)


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        for i in range(4):
            fetch(p + 72 * i, 72)
            state = update(state, doubled_bits(load_i32x16(p + 32 + 64 * i)), (d,), (), x)
            x += step
        return state

    return visit

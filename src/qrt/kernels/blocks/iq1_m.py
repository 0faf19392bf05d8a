"""IQ1_M: d * (2 * scale + 1) * (point + delta), scales for 16 values, a delta for each point.

Codes are eight times point and delta, and 9 more; `d` lies in the top bits of the words of scales.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.grids import eights, four_bytes, four_of
from qrt.kernels.intrinsics import gather, half_f32, load_i32x16, to_f32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


def halved_codes() -> list[int]:
    """Half the codes of 8 values, a nibble each, for a number of a point under the bit of delta."""
    points = eights("IQ1")
    return [4 * point + delta for delta in (0x11111111, 0) for point in points]


@inline
def odd_scale(words, shift):
    """2 * scale + 1 of three bits of each word."""
    return to_f32((((words >> shift) & 7) << 1) | 1)


def build(update: Any, fetch: Any) -> Any:
    point = gather("grid_IQ1_M", halved_codes())

    @inline
    def eight(index):
        both = point(index)
        return concat((both << 1) & 0x1E1E1E1E, (both >> 3) & 0x1E1E1E1E)

    @inline
    def codes(points, tops):
        a, b, c, d = four_bytes(points, tops)
        mask = 0xF00
        return four_of(
            eight(a | ((tops << 8) & mask)),
            eight(b | ((tops << 4) & mask)),
            eight(c | (tops & mask)),
            eight(d | ((tops >> 4) & mask)),
        )

    @inline
    def visit(state, p, x, step):
        low, high = load_i32x16(p), load_i32x16(p + 64)
        lower = ((low >> 12) & 0x0F) | ((low >> 24) & 0xF0)
        d = half_f32(lower | ((high >> 4) & 0xF00) | ((high >> 16) & 0xF000)) * 0.125
        for i in range(8):
            fetch(p + 112 * i, 112)
            words = load_i32x16(p + 64 * (i >> 2)) >> (16 * ((i >> 1) & 1) + 6 * (i & 1))
            scales = d * odd_scale(words, 0), d * odd_scale(words, 3)
            tops = load_i32x16(p + 128 + 64 * (i >> 1)) >> (16 * (i & 1))
            state = update(state, codes(load_i32x16(p + 384 + 64 * i), tops), scales, (), x)
            x += step
        return state

    return visit

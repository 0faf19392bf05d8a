"""TQ1_0: scale * (digit - 1), five digits of base 3 a byte; see formats.quants.tq1_0."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16, load_i32x64, load_i32x128
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def digits(words, power):
    """The digit n of every byte, for power = 3**n: even and odd bytes apart, 16 bits for each."""
    even, odd = words & 0x00FF00FF, (words >> 8) & 0x00FF00FF
    even, odd = (even * power) & 0x00FF00FF, (odd * power) & 0x00FF00FF
    return (((3 * even) >> 8) & 0x00030003) | ((3 * odd) & 0x03000300)


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        power = 1
        for i in range(5):  # 32 bytes a row
            fetch(p + 108 * i, 108)
            state = update(state, digits(load_i32x128(p + 96), power), (d,), (), x)
            power *= 3
            x += step
        for i in range(2):  # 16 bytes, two digits each
            fetch(p + 540 + 108 * i, 108)
            v = load_i32x64(p + 608)
            power = 1 + 8 * i
            codes = concat(digits(v, power), digits(v, 3 * power))
            state = update(state, codes, (d,), (), x)
            x += step
        fetch(p + 756, 108)
        v = load_i32x16(p + 32)  # the fifth digit of those, then four digits of 4 bytes
        last = concat(concat(digits(v, 1), digits(v, 3)), concat(digits(v, 9), digits(v, 27)))
        return update(state, concat(digits(load_i32x64(p + 608), 81), last), (d,), (), x)

    return visit

"""NVFP4: scale * level[nibble], scales of 8 bits for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import lookup_e2m1
from qrt.kernels.intrinsics import half_f32, load_i32x16, load_i32x32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def finite(bytes):
    """The lower seven bits of each byte, 0 where they are 0x7F."""
    low = bytes & 0x7F7F7F7F
    full = (low + 0x01010101) & 0x80808080
    return low ^ (full - (full >> 7))


@inline
def ue4m3(halves):
    """Half the numbers that bits 7 to 13 of words stand for."""
    return half_f32(halves & 0x3F80) * 128.0


@inline
def sixteen(p):
    """16 codes: the low nibbles of 8 bytes a row, then the high ones."""
    v = load_i32x32(p)
    return concat(v & 0x0F0F0F0F, (v >> 4) & 0x0F0F0F0F)


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        words = finite(load_i32x16(p))
        fetch(p, 288)
        codes = lookup_e2m1(concat(sixteen(p + 64), sixteen(p + 192)))
        state = update(state, codes, (ue4m3(words << 7), ue4m3(words >> 1)), (), x)
        fetch(p + 288, 288)
        codes = lookup_e2m1(concat(sixteen(p + 320), sixteen(p + 448)))
        scales = ue4m3(words >> 9), ue4m3(words >> 17)
        return update(state, codes, scales, (), x + step)

    return visit

"""NVFP4: scale * level[nibble], scales of 8 bits for 16 values each."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import lookup_e2m1
from qrt.kernels.intrinsics import half_f32, load_i32x16, load_i32x32
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def ue4m3(word, shift):
    """Half the number that a byte of each word stands for; 0x7F is 0, the top bit is not read."""
    byte = (word >> shift) & 0xFF
    kept = (((byte ^ 0x7F) - 1) >> 31) - 1
    return half_f32((byte & kept & 0x7F) << 7) * 128.0


@inline
def sixteen(p):
    """16 codes: the low nibbles of 8 bytes a row, then the high ones."""
    v = load_i32x32(p)
    return concat(v & 0x0F0F0F0F, (v >> 4) & 0x0F0F0F0F)


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        words = load_i32x16(p)
        for i in range(2):
            fetch(p + 288 * i, 288)
            at, shift = p + 64 + 256 * i, 16 * i
            scales = ue4m3(words, shift), ue4m3(words, shift + 8)
            codes = lookup_e2m1(concat(sixteen(at), sixteen(at + 128)))
            state = update(state, codes, scales, (), x)
            x += step
        return state

    return visit

"""Q5_1: scale * code + offset, the fifth bits apart."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import fifth_bits, nibbles
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 384)
        codes = nibbles(p + 128) | fifth_bits(load_i32x16(p + 64))
        negated = 0.0 - load_f16x16(p + 32)
        return update(state, codes, (load_f16x16(p),), (negated,), x)

    return visit

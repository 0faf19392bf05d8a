"""Q5_0: scale * (code - 16), the fifth bits apart."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import fifth_bits, nibbles
from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 352)
        codes = nibbles(p + 96) | fifth_bits(load_i32x16(p + 32))
        return update(state, codes, (load_f16x16(p),), (), x)

    return visit

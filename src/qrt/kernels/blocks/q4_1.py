"""Q4_1: scale * code + offset."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import nibbles
from qrt.kernels.intrinsics import load_f16x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 320)
        negated = 0.0 - load_f16x16(p + 32)
        return update(state, nibbles(p + 64), (load_f16x16(p),), (negated,), x)

    return visit

"""Q4_0: scale * (code - 8)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import nibbles
from qrt.kernels.intrinsics import load_f16x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 288)
        return update(state, nibbles(p + 32), (load_f16x16(p),), (), x)

    return visit

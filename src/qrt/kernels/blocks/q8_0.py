"""Q8_0: scale * (code - 128), the file's signed bytes with their top bits flipped."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 544)
        return update(state, load_i32x128(p + 32), (load_f16x16(p),), (), x)

    return visit

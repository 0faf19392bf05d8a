"""TQ2_0: scale * (code - 1)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x128
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        for i in range(2):
            v = load_i32x128(p + 32 + 512 * i)
            for j in range(4):
                fetch(p + 528 * i + 132 * j, 132)
                state = update(state, v & 0x03030303, (d,), (), x)
                v = v >> 2
                x += step
        return state

    return visit

"""Q2_0: scale * (code - 1), 16 values a word."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_f16x16, load_i32x16
from qrt.kernels.jit import inline
from qrt.kernels.shuffles import concat


@inline
def sixteen(p):
    """16 codes: bits 0-1 of 4 bytes a row, then bits 2-3, and so on."""
    v = load_i32x16(p)
    return concat(
        concat(v & 0x03030303, (v >> 2) & 0x03030303),
        concat((v >> 4) & 0x03030303, (v >> 6) & 0x03030303),
    )


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        d = load_f16x16(p)
        fetch(p, 288)
        state = update(state, concat(sixteen(p + 32), sixteen(p + 96)), (d,), (), x)
        codes = concat(sixteen(p + 160), sixteen(p + 224))
        return update(state, codes, (d,), (), x + step)

    return visit

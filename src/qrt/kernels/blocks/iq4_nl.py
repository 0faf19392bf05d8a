"""IQ4_NL: scale * value[nibble], from a table of 16 values."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import lookup_iq4, nibbles
from qrt.kernels.intrinsics import load_f16x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 288)
        return update(state, lookup_iq4(nibbles(p + 32)), (load_f16x16(p),), (), x)

    return visit

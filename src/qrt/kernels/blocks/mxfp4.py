"""MXFP4: 2**(e - 128) * level[nibble]."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.parts import lookup_e2m1, nibbles
from qrt.kernels.intrinsics import as_f32, load_u8x16
from qrt.kernels.jit import inline


@inline
def power(e):
    """2**(e - 128) for e from 0 to 255, as the product of two whose exponents a float has."""
    half = e >> 1
    return as_f32((half + 63) << 23) * as_f32((e - half + 63) << 23)


def build(update: Any, fetch: Any) -> Any:
    @inline
    def visit(state, p, x, step):
        fetch(p, 272)
        return update(state, lookup_e2m1(nibbles(p + 16)), (power(load_u8x16(p)),), (), x)

    return visit

"""What the scans over positions have in common: lanes at the edge of a row, sums of products."""

from __future__ import annotations

from typing import Any

from numba.extending import intrinsic

from qrt.kernels.instructions import emit
from qrt.kernels.intrinsics import load_f32, load_f32x16, store_f32, store_f32x16
from qrt.kernels.jit import inline
from qrt.kernels.llvm import lanes_of
from qrt.kernels.vectors import LANES, Vector

CHAINS = 4
"""Sums that are under way at once."""


@intrinsic
def sum_of_products(typingctx: Any, a: Any, b: Any) -> Any:
    """a * b summed over every 16 lanes: 16 lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums: list[Any] = []
        for i in range(a.lanes // LANES):
            x, y = (lanes_of(builder, value, LANES * i, LANES) for value in args)
            if i < CHAINS:
                sums.append(builder.fmul(x, y))
            else:
                sums[i % CHAINS] = emit("fma", builder, x, y, sums[i % CHAINS])
        while len(sums) > 1:
            sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    return Vector("f32", LANES)(a, b), codegen


@inline
def load_lanes(address, n, room):
    """n floats, and zeros up to 16; `room` is memory for them."""
    if n == 16:
        return load_f32x16(address)
    for i in range(16):
        store_f32(room + 4 * i, load_f32(address + 4 * i) if i < n else 0.0)
    return load_f32x16(room)


@inline
def store_lanes(address, n, value, room):
    """The first n of 16 lanes."""
    if n == 16:
        store_f32x16(address, value)
    else:
        store_f32x16(room, value)
        for i in range(n):
            store_f32(address + 4 * i, load_f32(room + 4 * i))

"""Dot products of the codes of weights and rows of int8 activations."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.instructions import I32, emit, join, lanes_of
from qrt.kernels.intrinsics import read_at
from qrt.kernels.vectors import LANES, splat


def dot(bits: int, stride: int, lanes: int = LANES) -> Any:
    """An intrinsic dot(acc, codes, x): acc + codes . x for `lanes` weight rows and every row of x.

    Codes of up to `bits` bits: 4 consecutive k of the weight rows in as many lanes. x: the address
    of int8 rows `stride` bytes apart. acc: a lane for each row of x and weight row.
    """
    instruction = "dot4_u7i8" if bits < 8 else "dot4_u8i8"

    @intrinsic
    def multiply(typingctx: Any, acc: Any, codes: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            totals = [lanes_of(builder, args[0], at, lanes) for at in range(0, acc.lanes, lanes)]
            for i in range(codes.lanes // lanes):
                group = lanes_of(builder, args[1], lanes * i, lanes)
                for row, total in enumerate(totals):
                    at = builder.add(args[2], ir.IntType(64)(stride * row + 4 * i))
                    four = splat(builder, read_at(builder, at, I32), lanes)
                    totals[row] = emit(instruction, builder, total, group, four)
            return join(builder, totals)

        return acc(acc, codes, types.int64), codegen

    return multiply

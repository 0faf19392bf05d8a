"""Dot products of the codes of weights and rows of int8 activations."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.instructions import emit
from qrt.kernels.llvm import I32, constant, join, lanes_of
from qrt.kernels.vectors import LANES


def dot(bits: int, zero: int, stride: int, lanes: int = LANES) -> Any:
    """An intrinsic dot(nsum, codes, x): (codes - zero) . x for `lanes` weight rows and every row
    of x.

    Codes of up to `bits` bits: 4 consecutive k of the weight rows in as many lanes. x: the address
    of int8 rows `stride` bytes apart. nsum: for each row of x the negated sum of its values, in
    every lane; the result has a lane for each row of x and weight row.
    """
    assert bits < 8 or zero == 128
    instruction = "dots_below_128" if bits < 8 else "dots_less_128"

    @intrinsic
    def multiply(typingctx: Any, nsum: Any, codes: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            if bits < 8:
                start = builder.mul(args[0], constant(I32, nsum.lanes, zero))
            else:
                start = emit("start_less_128", builder, args[0])
            totals = [lanes_of(builder, start, at, lanes) for at in range(0, nsum.lanes, lanes)]
            groups = [lanes_of(builder, args[1], at, lanes) for at in range(0, codes.lanes, lanes)]
            words = [
                emit("each_word", builder, args[2], stride * row, len(groups), lanes)
                for row in range(len(totals))
            ]
            return join(builder, emit(instruction, builder, totals, groups, words, bits))

        return nsum(nsum, codes, types.int64), codegen

    return multiply

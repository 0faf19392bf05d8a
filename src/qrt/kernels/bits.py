"""Lanes told apart by bits: bit i of a number stands for lane i of a vector of 16 floats."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.llvm import I16, I64, vector
from qrt.kernels.vectors import LANES, F32x16, splat

I1 = ir.IntType(1)


@intrinsic
def lanes_from(typingctx: Any, value: Any, floor: Any) -> Any:
    """The lanes that are at least `floor`; never those that are NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        hit = builder.fcmp_ordered(">=", args[0], splat(builder, args[1], LANES))
        return builder.zext(builder.bitcast(hit, I16), I64)

    return types.int64(F32x16, types.float32), codegen


@intrinsic
def where(typingctx: Any, bits: Any, value: Any, other: Any) -> Any:
    """The lanes of `value` whose bit is set, `other` in the rest."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        chosen = builder.bitcast(builder.trunc(args[0], I16), vector(I1, LANES))
        return builder.select(chosen, args[1], splat(builder, args[2], LANES))

    return F32x16(types.int64, F32x16, types.float32), codegen


@intrinsic
def count_bits(typingctx: Any, bits: Any) -> Any:
    """How many bits are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), codegen


@intrinsic
def lowest_bit(typingctx: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set, of which there must be one."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], I1(1))

    return types.int64(types.int64), codegen

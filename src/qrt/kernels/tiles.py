"""The words of matmuls on tile registers: sums of 32 rows and 32 outputs, and how bf16 is written.

Registers 0 to 3 hold the sums, two by two; 4 and 5 activations, 6 and 7 weights. `registers` is the
address of 8 KB of scratch memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.instructions import emit
from qrt.kernels.intrinsics import ADDRESS, I64
from qrt.kernels.llvm import I32, vector
from qrt.kernels.vectors import LANES, Vector

ROW = 64
"""Bytes of a row of a tile."""

ADDING = (((6, 4), ((0, 4, 6),)), ((5,), ((2, 5, 6),)), ((7,), ((1, 4, 7), (3, 5, 7))))
"""Registers to load, then products to add, as (sum, activations, weights); and so on."""


@intrinsic
def begin_tiles(typingctx: Any, registers: Any) -> Any:
    """Readies the registers of this thread."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit("tiles_begin", builder, *args)
        return context.get_dummy_value()

    return types.void(ADDRESS), codegen


@intrinsic
def end_tiles(typingctx: Any) -> Any:
    """Lets go of them."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit("tiles_end", builder)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def clear_sums(typingctx: Any, registers: Any) -> Any:
    """Four zeros."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for tile in range(4):
            emit("tile_zero", builder, args[0], tile)
        return context.get_dummy_value()

    return types.void(ADDRESS), codegen


@intrinsic
def add_products(typingctx: Any, registers: Any, x0: Any, x1: Any, w0: Any, w1: Any) -> Any:
    """Adds 32 k of two tiles of activations times two of weights; each load just before its use."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        registers, x0, x1, w0, w1 = args
        for loads, dots in ADDING:
            for tile in loads:
                at = {4: x0, 5: x1, 6: w0, 7: w1}[tile]
                emit("tile_load", builder, registers, tile, at, I64(ROW))
            for operands in dots:
                emit("tile_dot_bf16", builder, registers, *operands)
        return context.get_dummy_value()

    return types.void(*[ADDRESS] * 5), codegen


@intrinsic
def store_sums(typingctx: Any, registers: Any, out: Any, stride: Any) -> Any:
    """The sums as 32 rows of 32 float32, `stride` bytes apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        registers, out, stride = args
        lower = builder.add(out, builder.shl(stride, I64(4)))
        beside = (builder.add(at, I64(ROW)) for at in (out, lower))
        for tile, at in zip((0, 2, 1, 3), (out, lower, *beside), strict=True):
            emit("tile_store", builder, registers, tile, at, stride)
        return context.get_dummy_value()

    return types.void(ADDRESS, ADDRESS, types.int64), codegen


@intrinsic
def store_bf16x16(typingctx: Any, address: Any, value: Any) -> Any:
    """Stores 16 floats rounded to bf16."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        half = emit("f32_to_bf16", builder, args[1])
        builder.store(half, builder.inttoptr(args[0], half.type.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(ADDRESS, Vector("f32", LANES)), codegen


@intrinsic
def bf16_pairs(typingctx: Any, even: Any, odd: Any) -> Any:
    """Both values of a lane, rounded, in the low and the high half of an i32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = vector(I32, even.lanes)
        low, high = (builder.zext(emit("f32_to_bf16", builder, value), wide) for value in args)
        sixteen = ir.Constant(wide, [16] * even.lanes)
        return builder.or_(low, builder.shl(high, sixteen))

    return Vector("i32", even.lanes)(even, odd), codegen


@intrinsic
def groups_in_turn(typingctx: Any, first: Any, second: Any) -> Any:
    """16 lanes of `first`, 16 of `second`, and so on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = first.lanes
        index = [
            start + lane
            for group in range(0, n, LANES)
            for start in (group, n + group)
            for lane in range(LANES)
        ]
        return builder.shuffle_vector(*args, ir.Constant(vector(I32, 2 * n), index))

    return Vector(first.kind, 2 * first.lanes)(first, second), codegen

"""Lanes put elsewhere: vectors joined, cut in half, repeated and mixed; lanes by their numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.llvm import F32, I32, constant, join, lanes_of, vector
from qrt.kernels.vectors import LANES, Vector, splat


@intrinsic
def concat(typingctx: Any, low: Any, high: Any) -> Any:
    """The lanes of low, then those of high."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return join(builder, list(args))

    return Vector(low.kind, 2 * low.lanes)(low, high), codegen


@intrinsic
def interleave(typingctx: Any, value: Any) -> Any:
    """Lanes of the first half and of the second in turn."""
    half = value.lanes // 2

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = [i // 2 + i % 2 * half for i in range(2 * half)]
        undefined = ir.Constant(value.llvm, ir.Undefined)
        return builder.shuffle_vector(args[0], undefined, ir.Constant(vector(I32, 2 * half), index))

    return value(value), codegen


@intrinsic
def lower_half(typingctx: Any, value: Any) -> Any:
    """The first half of the lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return lanes_of(builder, args[0], 0, value.lanes // 2)

    return Vector(value.kind, value.lanes // 2)(value), codegen


@intrinsic
def upper_half(typingctx: Any, value: Any) -> Any:
    """The second half of the lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return lanes_of(builder, args[0], value.lanes // 2, value.lanes // 2)

    return Vector(value.kind, value.lanes // 2)(value), codegen


def repeat(count: int) -> Any:
    """An intrinsic of a vector: the vector `count` times over."""

    @intrinsic
    def again(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return join(builder, [args[0]] * count)

        return Vector(value.kind, value.lanes * count)(value), codegen

    return again


def repeat_each(count: int) -> Any:
    """An intrinsic of a vector: every 16 lanes `count` times, then the next."""

    @intrinsic
    def again(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            n = value.lanes * count
            index = [i // (LANES * count) * LANES + i % LANES for i in range(n)]
            undefined = ir.Constant(value.llvm, ir.Undefined)
            return builder.shuffle_vector(args[0], undefined, ir.Constant(vector(I32, n), index))

        return Vector(value.kind, value.lanes * count)(value), codegen

    return again


def turned(columns: int) -> Any:
    """An intrinsic of a vector of rows of `columns` lanes: its columns, one behind the other."""

    @intrinsic
    def turn(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            index = [i for column in range(columns) for i in range(column, value.lanes, columns)]
            undefined = ir.Constant(value.llvm, ir.Undefined)
            order = ir.Constant(vector(I32, value.lanes), index)
            return builder.shuffle_vector(args[0], undefined, order)

        return value(value), codegen

    return turn


def count_lanes(lanes: int) -> Any:
    """An intrinsic without arguments: 0.0 to 15.0 in every 16 of `lanes`."""

    @intrinsic
    def make(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return ir.Constant(vector(F32, lanes), [float(i % LANES) for i in range(lanes)])

        return Vector("f32", lanes)(), codegen

    return make


@intrinsic
def within(typingctx: Any, base: Any, first: Any, last: Any, value: Any, other: Any) -> Any:
    """Lane i of every 16 where first <= base + i <= last, `other` elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = value.lanes
        low, high = (
            splat(builder, builder.trunc(builder.sub(bound, args[0]), I32), n)
            for bound in args[1:3]
        )
        index = ir.Constant(vector(I32, n), [i % LANES for i in range(n)])
        inside = builder.and_(
            builder.icmp_signed(">=", index, low), builder.icmp_signed("<=", index, high)
        )
        return builder.select(inside, args[3], splat(builder, args[4], n))

    return value(types.int64, types.int64, types.int64, value, types.float32), codegen


def move_bits(order: Sequence[int], result: int = 0) -> Any:
    """An intrinsic of the words of a unit: word `result` of them, when each bit has moved to its
    place in `order`.
    """
    masks: dict[tuple[int, int], int] = defaultdict(int)  # by word and distance
    for at, to in enumerate(order):
        if to // 32 == result:
            masks[at // 32, to % 32 - at % 32] |= 1 << at % 32

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = args[0].type.count
        moved = constant(I32, n, 0)
        for (word, distance), mask in masks.items():
            part = builder.and_(args[word], constant(I32, n, mask - (mask >> 31 << 32)))
            shift = builder.shl if distance > 0 else builder.lshr
            moved = builder.or_(moved, shift(part, constant(I32, n, abs(distance))))
        return moved

    @intrinsic
    def of_one(typingctx: Any, word: Any) -> Any:
        return word(word), codegen

    @intrinsic
    def of_two(typingctx: Any, first: Any, second: Any) -> Any:
        return first(first, second), codegen

    return of_one if len(order) == 32 else of_two

"""LLVM IR on vectors, in pieces that the instruction table is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def constant(element: ir.Type, lanes: int, value: float) -> ir.Constant:
    return ir.Constant(vector(element, lanes), [value] * lanes)


def lanes_of(builder: ir.IRBuilder, value: ir.Value, first: int, count: int) -> ir.Value:
    """Lanes first .. first + count - 1 of a vector."""
    if first == 0 and value.type.count == count:
        return value
    undefined = ir.Constant(value.type, ir.Undefined)
    index = ir.Constant(vector(I32, count), list(range(first, first + count)))
    return builder.shuffle_vector(value, undefined, index)


def join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """The parts (a power of two of them, equally wide) side by side."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        index = ir.Constant(vector(I32, n), list(range(n)))
        parts = [
            builder.shuffle_vector(a, b, index)
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def is_arm(module: ir.Module) -> bool:
    """Whether a module is for a 64-bit ARM; else it is for x86."""
    return "aarch64" in module.triple or "arm64" in module.triple


Emitter = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """An LLVM intrinsic on vectors of `lanes` 32-bit lanes."""

    name: str
    lanes: int
    bytewise: bool = False  # operands and result are declared as bytes

    def __call__(self, builder: ir.IRBuilder, *args: ir.Value) -> ir.Value:
        element, per_lane = (I8, 4) if self.bytewise else (args[0].type.element, 1)
        wide = vector(element, self.lanes * per_lane)
        declared = ir.FunctionType(wide, [wide] * len(args))
        fn = cgutils.get_or_insert_function(builder.module, declared, self.name)
        return join(
            builder,
            [
                builder.call(fn, [lanes_of(builder, a, i, wide.count) for a in args])
                for i in range(0, args[0].type.count, wide.count)
            ],
        )


def words_of(builder: ir.IRBuilder, value: ir.Value, element: ir.Type) -> ir.Value:
    """The same bits as lanes of another width."""
    per_lane = value.type.element.width // element.width
    return builder.bitcast(value, vector(element, value.type.count * per_lane))

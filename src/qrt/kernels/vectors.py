"""SIMD vectors as Numba values: a type whose data model is an LLVM vector, with operators.

`F32x16` and its kin are wider than some registers; LLVM splits them where the CPU needs it. The
operators act lane by lane; a plain number beside a vector stands for all its lanes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import register_model

LANES = 16
"""Rows of a weight panel, and lanes of the vectors that kernels count in."""

ELEMENTS = {
    "i8": ir.IntType(8),
    "i16": ir.IntType(16),
    "i32": ir.IntType(32),
    "f16": ir.HalfType(),
    "f32": ir.FloatType(),
}


class Vector(types.Type):
    """`lanes` values of kind i32 or f32."""

    def __init__(self, kind: str, lanes: int) -> None:
        self.kind = kind
        self.lanes = lanes
        super().__init__(name=f"{kind}x{lanes}")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ELEMENTS[self.kind], self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


F32x16 = Vector("f32", 16)
I32x16 = Vector("i32", 16)


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """IR for a vector with `scalar` in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def as_lanes(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A vector as it is, a scalar in every lane."""
    return value if isinstance(value.type, ir.VectorType) else splat(builder, value, lanes)


Emit = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]

_OPERATORS: dict[tuple[Any, str], Emit] = {
    (operator.add, "f32"): ir.IRBuilder.fadd,
    (operator.sub, "f32"): ir.IRBuilder.fsub,
    (operator.mul, "f32"): ir.IRBuilder.fmul,
    (operator.truediv, "f32"): ir.IRBuilder.fdiv,
    (operator.add, "i32"): ir.IRBuilder.add,
    (operator.sub, "i32"): ir.IRBuilder.sub,
    (operator.mul, "i32"): ir.IRBuilder.mul,
    (operator.and_, "i32"): ir.IRBuilder.and_,
    (operator.or_, "i32"): ir.IRBuilder.or_,
    (operator.xor, "i32"): ir.IRBuilder.xor,
    (operator.lshift, "i32"): ir.IRBuilder.shl,
    (operator.rshift, "i32"): ir.IRBuilder.lshr,
}


def _scalar_type(vector: Vector, other: Any) -> Any:
    """The type a number beside `vector` is converted to; None when it does not fit."""
    if vector.kind == "i32":
        return types.int32 if isinstance(other, types.Integer) else None
    return types.float32 if isinstance(other, types.Number) else None


def _register(op: Any) -> None:
    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:  # noqa: ARG002
            if len(args) != 2 or not any(isinstance(a, Vector) for a in args):
                return None
            result = next(a for a in args if isinstance(a, Vector))
            taken = [a if a == result else _scalar_type(result, a) for a in args]
            return signature(result, *taken) if None not in taken else None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = sig.return_type
        operands = [as_lanes(builder, value, result.lanes) for value in args]
        return _OPERATORS[op, result.kind](builder, *operands)

    for left, right in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, left, right)(lower)


for _op in {op for op, _ in _OPERATORS}:
    _register(_op)

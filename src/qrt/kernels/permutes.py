"""Bytes looked up in tables that registers hold, and bytes that begin at any bit of a word.

Only a tier that offers "lookup64" has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from qrt.kernels.instructions import emit, offers
from qrt.kernels.llvm import I8, constant, vector


def _bytes_of(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.bitcast(value, vector(I8, 4 * value.type.count))


def _repeated(pattern: Sequence[int], n: int) -> ir.Constant:
    return ir.Constant(vector(I8, n), [pattern[i % len(pattern)] for i in range(n)])


def lookup64(table: Sequence[int]) -> Any:
    """An intrinsic that replaces every byte i of an i32 vector by table[i % 64]; a shorter table is
    repeated.
    """

    @intrinsic
    def replace(typingctx: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = _bytes_of(builder, args[0])
            found = emit("lookup64", builder, _repeated(table, at.type.count), at)
            return builder.bitcast(found, index.llvm)

        return index(index), codegen

    return replace


def long_lookup(table: Sequence[int]) -> Any:
    """An intrinsic of two i32 vectors that replaces every byte i of the first by table[i], where
    the bytes of the second have bits 8 and on of i, lowest first.
    """

    def emit_lookup(builder: ir.IRBuilder, low: ir.Value, above: ir.Value) -> ir.Value:
        n, bit = low.type.count, 7 if offers("lookup128") else 6
        parts = [_repeated(table[i : i + 64], n) for i in range(0, len(table), 64)]
        if bit == 7:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            found = [emit("lookup128", builder, a, low, b) for a, b in pairs]
        else:
            found = [emit("lookup64", builder, part, low) for part in parts]
        while len(found) > 1:
            word, mask = (low, 1 << bit) if bit < 8 else (above, 1 << bit - 8)
            tested = builder.and_(word, constant(I8, n, mask))
            upper = builder.icmp_unsigned("!=", tested, constant(I8, n, 0))
            pairs = zip(found[1::2], found[::2], strict=True)
            found = [builder.select(upper, second, first) for second, first in pairs]
            bit += 1
        return found[0]

    @intrinsic
    def replace(typingctx: Any, index: Any, above: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            found = emit_lookup(builder, *(_bytes_of(builder, value) for value in args))
            return builder.bitcast(found, index.llvm)

        return index(index, above), codegen

    return replace


def bytes_from(*starts: int) -> Any:
    """An intrinsic of an i32 vector: byte b of each lane is the eight bits of that lane from bit
    starts[b] on; what they would need above its top is anything.
    """
    pattern = [start + lane for lane in (0, 32) for start in starts]

    @intrinsic
    def take(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            at = _bytes_of(builder, args[0])
            taken = emit("unaligned_bytes", builder, _repeated(pattern, at.type.count), at)
            return builder.bitcast(taken, value.llvm)

        return value(value), codegen

    return take

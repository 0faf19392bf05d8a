"""Bytes looked up in tables that registers hold, and bytes that begin at any bit of a word.

Only a tier that offers "lookup64" has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core.types.containers import UniTuple
from numba.extending import intrinsic

from qrt.kernels.instructions import emit, offers
from qrt.kernels.llvm import I8, constant, join, lanes_of, vector


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


def _either(
    builder: ir.IRBuilder, index: ir.Value, *choices: tuple[ir.Value, ir.Constant, ir.Constant]
) -> ir.Value:
    """What is found in the table whose mask is set, of tables in halves.

    What was not found yet is the index still: instructions put what they find in its place, so
    that nothing need be joined.
    """
    for mask, first, second in choices:
        index = builder.select(mask, emit("lookup128", builder, first, index, second), index)
    return index


def _anew(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The same bytes, of which the compiler no longer knows that they are."""
    part = vector(I8, 64)
    parts = [lanes_of(builder, value, i, 64) for i in range(0, value.type.count, 64)]
    same = ir.FunctionType(part, [part])
    return join(builder, [builder.asm(same, "", "=v,0", [each], False) for each in parts])


def long_lookups(*tables: Sequence[int]) -> Any:
    """An intrinsic of two i32 vectors that gives a vector for each table: every byte i of the first
    is replaced by table[i], where the bytes of the second have bits 8 and on of i, lowest first.

    The tables have equally many entries, a power of two from 128 on.
    """

    def emit_lookups(builder: ir.IRBuilder, low: ir.Value, above: ir.Value) -> list[ir.Value]:
        none = constant(I8, low.type.count, 0)

        def is_set(bit: int) -> ir.Value:
            word, mask = (low, 1 << bit) if bit < 8 else (above, 1 << bit - 8)
            return builder.icmp_unsigned("!=", builder.and_(word, constant(I8, n, mask)), none)

        n, in_place = low.type.count, offers("lookup128")
        if in_place:  # masks of their own: one that is the contrary of the other would be joined
            lower = builder.icmp_signed(">=", low, none)
            upper = builder.icmp_signed("<", _anew(builder, low), none)

        def found_in(table: Sequence[int]) -> ir.Value:
            parts = [_repeated(table[i : i + 64], n) for i in range(0, len(table), 64)]
            if in_place and len(parts) == 2:
                found = [emit("lookup128", builder, parts[0], low, parts[1])]
            elif in_place:
                fours = (parts[i : i + 4] for i in range(0, len(parts), 4))
                found = [
                    _either(builder, low, (lower, a, b), (upper, c, d)) for a, b, c, d in fours
                ]
            else:
                found = [emit("lookup64", builder, part, low) for part in parts]
            for bit in range(8 if in_place else 6, (len(table) - 1).bit_length()):
                pairs = zip(found[1::2], found[::2], strict=True)
                found = [builder.select(is_set(bit), second, first) for second, first in pairs]
            return found[0]

        return [found_in(table) for table in tables]

    @intrinsic
    def replace(typingctx: Any, index: Any, above: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            found = emit_lookups(builder, *(_bytes_of(builder, value) for value in args))
            values = [builder.bitcast(value, index.llvm) for value in found]
            return context.make_tuple(builder, sig.return_type, values)

        return UniTuple(index, len(tables))(index, above), codegen

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

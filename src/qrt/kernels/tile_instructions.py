"""Rows of the instruction table for tile registers: eight matrices of 16 rows of 64 bytes.

A CPU without them keeps them in memory, at the address `registers` that each of these takes; one
that has them (AMX) uses it for its configuration alone. Both round alike, but AMX takes numbers
below 2**-126 for zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from qrt.kernels.llvm import F32, I8, I32, vector
from qrt.kernels.vectors import splat

I64 = ir.IntType(64)
ROW_I32, ROW_F32 = vector(I32, 16), vector(F32, 16)
ROWS, ROW_BYTES = 16, 64
STRIDE = I64(ROW_BYTES)

PALETTE_1 = [1, *[0] * 15, *[ROW_BYTES, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8]
"""The 64 bytes that configure all registers as whole ones."""


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> None:
    declared = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(cgutils.get_or_insert_function(builder.module, declared, name), args)


def _pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type = I8) -> ir.Value:
    return builder.inttoptr(address, kind.as_pointer())


def _begin(builder: ir.IRBuilder, registers: ir.Value) -> None:
    kind = ir.VectorType(I8, len(PALETTE_1))
    store = builder.store(ir.Constant(kind, PALETTE_1), _pointer(builder, registers, kind))
    store.align = 1
    _call(builder, "llvm.x86.ldtilecfg", _pointer(builder, registers))


def _end(builder: ir.IRBuilder) -> None:
    _call(builder, "llvm.x86.tilerelease")


def _zero(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> None:
    _call(builder, "llvm.x86.tilezero", I8(tile))


def _load(
    builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value, stride: ir.Value
) -> None:
    _call(builder, "llvm.x86.tileloadd64", I8(tile), _pointer(builder, address), stride)


def _store(
    builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value, stride: ir.Value
) -> None:
    _call(builder, "llvm.x86.tilestored64", I8(tile), _pointer(builder, address), stride)


def _dot(builder: ir.IRBuilder, registers: ir.Value, total: int, a: int, b: int) -> None:
    _call(builder, "llvm.x86.tdpbf16ps", I8(total), I8(a), I8(b))


def _nothing(builder: ir.IRBuilder, *args: ir.Value) -> None:
    """Memory needs no configuration."""


def _row(
    builder: ir.IRBuilder, base: ir.Value, row: ir.Value, stride: ir.Value = STRIDE
) -> ir.Value:
    return builder.add(base, builder.mul(row, stride))


def _register(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> ir.Value:
    return builder.add(registers, I64(tile * ROWS * ROW_BYTES))


def _read(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(_pointer(builder, address, kind))
    value.align = 1
    return value


def _write(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    builder.store(value, _pointer(builder, address, value.type)).align = 1


def _copy(
    builder: ir.IRBuilder,
    source: ir.Value,
    target: ir.Value,
    source_stride: ir.Value = STRIDE,
    target_stride: ir.Value = STRIDE,
) -> None:
    with cgutils.for_range(builder, I64(ROWS)) as loop:
        row = _read(builder, _row(builder, source, loop.index, source_stride), ROW_I32)
        _write(builder, _row(builder, target, loop.index, target_stride), row)


def _zero_plain(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> None:
    target, zeros = _register(builder, registers, tile), ir.Constant(ROW_I32, [0] * 16)
    with cgutils.for_range(builder, I64(ROWS)) as loop:
        _write(builder, _row(builder, target, loop.index), zeros)


def _load_plain(
    builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value, stride: ir.Value
) -> None:
    _copy(builder, address, _register(builder, registers, tile), stride)


def _store_plain(
    builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value, stride: ir.Value
) -> None:
    _copy(builder, _register(builder, registers, tile), address, target_stride=stride)


def _dot_plain(builder: ir.IRBuilder, registers: ir.Value, total: int, a: int, b: int) -> None:
    """total[m] += (sum over k of a[m, 2k] * b[k, evens]) + (the same of the odd ones).

    Products of bf16 are exact in float32, so it makes no difference that they are not fused.
    """
    a_at, b_at, total_at = (_register(builder, registers, tile) for tile in (a, b, total))
    sums = [cgutils.alloca_once(builder, ROW_F32) for _ in range(2)]
    with cgutils.for_range(builder, I64(ROWS)) as m:
        for part in sums:
            builder.store(ir.Constant(ROW_F32, [0.0] * 16), part)
        with cgutils.for_range(builder, I64(ROWS)) as k:
            at = builder.add(_row(builder, a_at, m.index), builder.shl(k.index, I64(2)))
            x = _halves(builder, splat(builder, _read(builder, at, I32), 16))
            w = _halves(builder, _read(builder, _row(builder, b_at, k.index), ROW_I32))
            for i, part in enumerate(sums):
                builder.store(builder.fadd(builder.fmul(x[i], w[i]), builder.load(part)), part)
        at = _row(builder, total_at, m.index)
        both = builder.fadd(builder.load(sums[0]), builder.load(sums[1]))
        _write(builder, at, builder.fadd(_read(builder, at, ROW_F32), both))


def _halves(builder: ir.IRBuilder, pairs: ir.Value) -> list[ir.Value]:
    """The low and the high bf16 of each lane as float32."""
    low = builder.shl(pairs, ir.Constant(ROW_I32, [16] * 16))
    high = builder.and_(pairs, ir.Constant(ROW_I32, [0xFFFF0000] * 16))
    return [builder.bitcast(half, ROW_F32) for half in (low, high)]


TILE_INSTRUCTIONS: dict[str, dict[str, Callable[..., None]]] = {
    "tiles_begin": {"generic": _nothing, "amx": _begin},
    "tiles_end": {"generic": _nothing, "amx": _end},
    "tile_zero": {"generic": _zero_plain, "amx": _zero},
    "tile_load": {"generic": _load_plain, "amx": _load},
    "tile_store": {"generic": _store_plain, "amx": _store},
    # total + a . b, a (16 rows, 32 k), b (16 pairs of k, 16 columns, 2), in bf16
    "tile_dot_bf16": {"generic": _dot_plain, "amx": _dot},
}

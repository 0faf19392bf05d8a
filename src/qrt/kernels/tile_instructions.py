"""Rows of the instruction table for tile registers: eight matrices of up to 16 rows of 64 bytes.

A CPU without them keeps them in memory, at the address `registers` that each of these takes; one
that has them (AMX) uses it for its configuration alone. Sums are whole numbers: both give the same.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from qrt.kernels.llvm import I8, I32, I64, constant, vector
from qrt.kernels.vectors import splat

ROWS, ROW_BYTES = 16, 64
TILE_BYTES = ROWS * ROW_BYTES
WORDS = vector(I32, 16)

Shape = tuple[int, int]
"""Rows of a tile, and bytes of each."""


def _palette(shapes: list[Shape]) -> list[int]:
    """The 64 bytes that configure eight registers."""
    widths = [part for _, n_bytes in shapes for part in (n_bytes, 0)]
    return [1, *[0] * 15, *widths, *[0] * 16, *[rows for rows, _ in shapes], *[0] * 8]


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> None:
    declared = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(cgutils.get_or_insert_function(builder.module, declared, name), args)


def _pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type = I8) -> ir.Value:
    return builder.inttoptr(address, kind.as_pointer())


def _begin(builder: ir.IRBuilder, registers: ir.Value, shapes: list[Shape]) -> None:
    palette = _palette(shapes)
    kind = ir.VectorType(I8, len(palette))
    store = builder.store(ir.Constant(kind, palette), _pointer(builder, registers, kind))
    store.align = 1
    _call(builder, "llvm.x86.ldtilecfg", _pointer(builder, registers))


def _end(builder: ir.IRBuilder) -> None:
    _call(builder, "llvm.x86.tilerelease")


def _zero(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> None:
    _call(builder, "llvm.x86.tilezero", I8(tile))


def _load(
    builder: ir.IRBuilder,
    registers: ir.Value,
    tile: int,
    shape: Shape,
    address: ir.Value,
    stride: ir.Value,
) -> None:
    _call(builder, "llvm.x86.tileloadd64", I8(tile), _pointer(builder, address), stride)


def _store(builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value) -> None:
    at = _pointer(builder, address)
    _call(builder, "llvm.x86.tilestored64", I8(tile), at, I64(ROW_BYTES))


def _dot(builder: ir.IRBuilder, registers: ir.Value, total: int, a: int, b: int, k: int) -> None:
    _call(builder, "llvm.x86.tdpbssd", I8(total), I8(a), I8(b))


def _nothing(builder: ir.IRBuilder, *args: object) -> None:
    """Memory needs no configuration."""


def _register(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> ir.Value:
    return builder.add(registers, I64(tile * TILE_BYTES))


def _row(builder: ir.IRBuilder, base: ir.Value, row: ir.Value, stride: ir.Value) -> ir.Value:
    return builder.add(base, builder.mul(row, stride))


def _read(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(_pointer(builder, address, kind))
    value.align = 1
    return value


def _write(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    builder.store(value, _pointer(builder, address, value.type)).align = 1


def _copy(
    builder: ir.IRBuilder, source: ir.Value, stride: ir.Value, target: ir.Value, shape: Shape
) -> None:
    rows, n_bytes = shape
    with cgutils.for_range(builder, I64(rows)) as loop:
        row = _read(builder, _row(builder, source, loop.index, stride), vector(I8, n_bytes))
        _write(builder, _row(builder, target, loop.index, I64(ROW_BYTES)), row)


def _zero_plain(builder: ir.IRBuilder, registers: ir.Value, tile: int) -> None:
    target, zeros = _register(builder, registers, tile), constant(I32, ROWS, 0)
    with cgutils.for_range(builder, I64(ROWS)) as loop:
        _write(builder, _row(builder, target, loop.index, I64(ROW_BYTES)), zeros)


def _load_plain(
    builder: ir.IRBuilder,
    registers: ir.Value,
    tile: int,
    shape: Shape,
    address: ir.Value,
    stride: ir.Value,
) -> None:
    _copy(builder, address, stride, _register(builder, registers, tile), shape)


def _store_plain(builder: ir.IRBuilder, registers: ir.Value, tile: int, address: ir.Value) -> None:
    source = _register(builder, registers, tile)
    _copy(builder, source, I64(ROW_BYTES), address, (ROWS, ROW_BYTES))


def _dot_plain(
    builder: ir.IRBuilder, registers: ir.Value, total: int, a: int, b: int, k: int
) -> None:
    """total[m] += the sum over k of a[m, k] * b[k], four k a lane."""
    a_at, b_at, total_at = (_register(builder, registers, tile) for tile in (a, b, total))
    with cgutils.for_range(builder, I64(ROWS)) as m:
        at = _row(builder, total_at, m.index, I64(ROW_BYTES))
        with cgutils.for_range(builder, I64(k // 4)) as four:
            word = _row(builder, _row(builder, a_at, m.index, I64(ROW_BYTES)), four.index, I64(4))
            x = splat(builder, _read(builder, word, I32), ROWS)
            w = _read(builder, _row(builder, b_at, four.index, I64(ROW_BYTES)), WORDS)
            sums = _read(builder, at, WORDS)
            for shift in (0, 8, 16, 24):
                product = builder.mul(_byte(builder, x, shift), _byte(builder, w, shift))
                sums = builder.add(sums, product)
            _write(builder, at, sums)


def _byte(builder: ir.IRBuilder, words: ir.Value, shift: int) -> ir.Value:
    """A byte of each lane with its sign."""
    high = builder.shl(words, constant(I32, ROWS, 24 - shift))
    return builder.ashr(high, constant(I32, ROWS, 24))


TILE_INSTRUCTIONS: dict[str, dict[str, Callable[..., None]]] = {
    "tiles_begin": {"generic": _nothing, "amx": _begin},
    "tiles_end": {"generic": _nothing, "amx": _end},
    "tile_zero": {"generic": _zero_plain, "amx": _zero},
    "tile_load": {"generic": _load_plain, "amx": _load},
    "tile_store": {"generic": _store_plain, "amx": _store},
    # total + a . b, a (16 rows, k) and b (k / 4, 16 columns, 4) of int8, total of int32
    "tile_dot_i8": {"generic": _dot_plain, "amx": _dot},
}

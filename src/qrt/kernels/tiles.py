"""The words of matmuls on tile registers: 32 rows of activations times 32 outputs.

Registers 0 to 3 hold the sums, two by two; 4 and 5 activations, 6 and 7 weights. `registers` is the
address of REGISTERS bytes of scratch memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.instructions import emit
from qrt.kernels.intrinsics import ADDRESS
from qrt.kernels.llvm import I64
from qrt.kernels.tile_instructions import ROW_BYTES, ROWS, TILE_BYTES, Shape

REGISTERS = 8 * TILE_BYTES
SUMS_BYTES = 4 * TILE_BYTES
"""Bytes of the sums: those of rows 0 to 15 with outputs 0 to 15 and 16 to 31, then of the rest."""

PRODUCTS = (((4, 6), (0, 4, 6)), ((7,), (1, 4, 7)), ((5,), (2, 5, 6)), ((), (3, 5, 7)))
"""Registers to load, then what is summed up: (sums, activations, weights); and so on. The first
half does without the second 16 rows."""


def _shapes(k: int) -> list[Shape]:
    return [(ROWS, ROW_BYTES)] * 4 + [(ROWS, k)] * 2 + [(k // 4, ROW_BYTES)] * 2


def begin_tiles(k: int) -> Any:
    """An intrinsic of `registers`: readies those of this thread for `k` values at a time."""

    @intrinsic
    def begin(typingctx: Any, registers: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit("tiles_begin", builder, args[0], _shapes(k))
            return context.get_dummy_value()

        return types.void(ADDRESS), codegen

    return begin


@intrinsic
def end_tiles(typingctx: Any) -> Any:
    """Lets go of them."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit("tiles_end", builder)
        return context.get_dummy_value()

    return types.void(), codegen


def _store(builder: ir.IRBuilder, registers: ir.Value, out: ir.Value, tile: int) -> None:
    emit("tile_store", builder, registers, tile, builder.add(out, I64(tile * TILE_BYTES)))


def next_products(n_tiles: int, k: int, x_stride: int, w_stride: int) -> Any:
    """An intrinsic of registers, x0, x1, w0, w1 and out: stores the sums of before at `out`, then
    sums up `k` values of one or two tiles of rows, at x0 and x1, times 32 outputs.

    Strides are bytes from row to row, and from four k to the next. A store just behind its sum
    would wait for it, and what follows with it.
    """
    shapes = _shapes(k)

    @intrinsic
    def products(
        typingctx: Any, registers: Any, x0: Any, x1: Any, w0: Any, w1: Any, out: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            registers, out = args[0], args[5]
            for loads, (total, a, b) in PRODUCTS[: 2 * n_tiles]:
                for tile in loads:
                    stride = I64(x_stride if tile < 6 else w_stride)
                    at = args[tile - 3]
                    emit("tile_load", builder, registers, tile, shapes[tile], at, stride)
                _store(builder, registers, out, total)
                emit("tile_zero", builder, registers, total)
                emit("tile_dot_i8", builder, registers, total, a, b, k)
            return context.get_dummy_value()

        return types.void(*[ADDRESS] * 6), codegen

    return products


def last_products(n_tiles: int) -> Any:
    """An intrinsic of registers and out: stores the sums of one or two tiles of rows."""

    @intrinsic
    def products(typingctx: Any, registers: Any, out: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            registers, out = args
            for tile in range(2 * n_tiles):
                _store(builder, registers, out, tile)
            return context.get_dummy_value()

        return types.void(ADDRESS, ADDRESS), codegen

    return products

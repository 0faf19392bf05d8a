"""Words about addresses from which nothing is read yet."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from qrt.kernels.instructions import bytes_ahead
from qrt.kernels.llvm import I8, I32, I64


def prefetch_run(count: int, level: int = 2) -> Any:
    """prefetch_run(count)(address, ahead): asks for `count` cache lines from address + ahead on.

    They come into the second-level cache, which has more requests under way than the first: with
    those a core reaches the bus's speed. `level` 1: into the first, of what is in the second.
    """

    @intrinsic
    def ask(typingctx: Any, address: Any, ahead: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            first = builder.add(*args)
            for i in range(count):
                _ask_for_line(builder, builder.add(first, I64(64 * i)), level)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return ask


def _ask_for_line(builder: ir.IRBuilder, address: ir.Value, level: int) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    line = builder.inttoptr(address, I8.as_pointer())
    builder.call(function, [line, I32(0), I32(4 - level), I32(1)])


prefetch = prefetch_run(1)
"""prefetch(address, ahead): asks for the cache line at address + ahead."""


@intrinsic
def prefetch_weights(typingctx: Any, address: Any) -> Any:
    """Asks for the cache line that is needed soon after the weights at an address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _ask_for_line(builder, builder.add(args[0], I64(bytes_ahead())), level=2)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def anchored(typingctx: Any, address: Any) -> Any:
    """The same address, of which the compiler no longer knows how it came about.

    What is read at fixed offsets from it then takes one register: in loops it would keep one for
    each offset, and step them all.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [args[0]], False)

    return types.int64(types.int64), codegen

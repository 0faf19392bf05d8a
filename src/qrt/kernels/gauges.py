"""Kernels that measure: the time at a place of the tape, the most that memory and units can do."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from qrt.kernels.instructions import emit, register_lanes
from qrt.kernels.intrinsics import load_i32x64, load_i64, store, store_i64
from qrt.kernels.layout import CLOCK, PEAK, PEAK_SUM, READ, READ_SUM
from qrt.kernels.llvm import constant, is_arm, join, lanes_of
from qrt.kernels.shuffles import repeat
from qrt.kernels.vectors import ELEMENTS, Vector

REGISTERS = 4
"""Registers of one sum. Three sums are as many instructions as must be under way at once."""

GROUPS = {"int8": 8, "f32": 1}
"""Products that one sum takes in turn: int8 as a block of 32 codes of 4 bits does."""

FACTORS = {"int8": ("i32", 0x04030201, 0x01FF0102), "f32": ("f32", 1.5, 0.25)}
"""unit -> lanes, x and y of the products x * y; int8: 1 * 2 + 2 * 1 + 3 * -1 + 4 * 1 in a lane."""


@intrinsic
def ticks(typingctx: Any) -> Any:
    """A counter that runs at one pace on all cores."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        module, word = builder.module, ir.IntType(64)
        arm = is_arm(module)
        declared = ir.FunctionType(word, [ir.MetaDataType()] if arm else [])
        name = "llvm.read_volatile_register.i64" if arm else "llvm.readcyclecounter"
        fn = cgutils.get_or_insert_function(module, declared, name)
        return builder.call(fn, [module.add_metadata(["cntvct_el0"])] if arm else [])

    return types.int64(), codegen


def _hidden(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A register of which the compiler no longer knows what it holds; costs no instruction."""
    constraint = "=w,0" if is_arm(builder.module) else "=v,0"
    declared = ir.FunctionType(value.type, [value.type])
    return builder.asm(declared, "", constraint, [value], side_effect=True)


def _unknown(kind: str, value: float) -> Any:
    """An intrinsic without arguments: a register with `value` in all lanes."""
    lanes = register_lanes()

    @intrinsic
    def make(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _hidden(builder, constant(ELEMENTS[kind], lanes, value))

        return Vector(kind, lanes)(), codegen

    return make


@intrinsic
def multiply_add(typingctx: Any, total: Any, x: Any, y: Any) -> Any:
    """total + GROUPS times x * y, register by register, each product made anew."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole, one, other = args
        parts = []
        for first in range(0, total.lanes, x.lanes):
            part = lanes_of(builder, whole, first, x.lanes)
            if x.kind == "f32":
                one = _hidden(builder, one)
                parts.append(emit("fma", builder, one, other, part))
            else:
                ones = [_hidden(builder, one) for _ in range(GROUPS["int8"])]
                others = [iter([other] * len(ones))]
                parts += emit("dots_below_128", builder, [part], ones, others, 4)
        return join(builder, parts)

    return total(total, x, y), codegen


def build_peak(unit: str) -> Any:
    """The kernel that does multiply-adds of `unit`, int8 or f32, and nothing else."""
    kind, *factors = FACTORS[unit]
    nothing, left, right = (_unknown(kind, value) for value in (0, *factors))
    registers, lanes_at_once = repeat(REGISTERS), 3 * REGISTERS * register_lanes() * GROUPS[unit]

    def peak(step, args, thread, n_threads):
        x, y = left(), right()
        a = b = c = registers(nothing())
        for _ in range(load_i64(args + PEAK.n_lanes) // lanes_at_once):
            a = multiply_add(a, x, y)
            b = multiply_add(b, x, y)
            c = multiply_add(c, x, y)
        store(load_i64(args + PEAK.sums) + PEAK_SUM * thread, a + b + c)

    return peak


def build_clock() -> Any:
    def clock(step, args, thread, n_threads):
        at = load_i64(args + CLOCK.stamps) + thread * load_i64(args + CLOCK.stride)
        store_i64(at, ticks())

    return clock


def build_read() -> Any:
    def read(step, args, thread, n_threads):
        """Sums the lanes of all memory, to measure the bandwidth; a lane not kept is not read."""
        data, n = load_i64(args + READ.data), load_i64(args + READ.n_bytes) >> 10
        total = load_i32x64(data)
        for i in range(n * thread // n_threads, n * (thread + 1) // n_threads):
            p = data + 1024 * i
            near = load_i32x64(p) + load_i32x64(p + 256)
            total = total + (near + (load_i32x64(p + 512) + load_i32x64(p + 768)))
        store(load_i64(args + READ.sums) + READ_SUM * thread, total)

    return read

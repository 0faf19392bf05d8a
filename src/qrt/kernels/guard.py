"""A signal handler for faults in mapped files: memory whose file was cut short reads as zeros.

A kernel that hands out the handler's address. The handler itself, `void(int, siginfo_t *, void *)`,
calls only what the system allows in a handler, and may run on several threads at a time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.intrinsics import store_i64
from qrt.kernels.layout import GUARD, GUARDED
from qrt.kernels.llvm import I8, I32, I64

PLACE = I8.as_pointer()

CODE, FAULT_AT = 8, 16
"""Where siginfo_t has the cause, above 0 for a fault, and the address, on 64-bit Linux."""

READ_ONLY, PRIVATE_ZEROS_THERE = 1, 0x32
"""PROT_READ; MAP_PRIVATE, MAP_ANONYMOUS and MAP_FIXED."""


class _Body:
    """Emits the handler's parts: words of memory and calls by address."""

    def __init__(self, function: ir.Function) -> None:
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block())

    def load(self, address: ir.Value, kind: ir.Type = I64) -> ir.Value:
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        return self.builder.load_atomic(pointer, "seq_cst", kind.width // 8)

    def store(self, address: ir.Value, value: int) -> None:
        pointer = self.builder.inttoptr(address, I64.as_pointer())
        self.builder.store_atomic(I64(value), pointer, "seq_cst", 8)

    def add(self, address: ir.Value, offset: int) -> ir.Value:
        return self.builder.add(address, I64(offset))

    def call(self, function: ir.Value, result: ir.Type, *args: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [arg.type for arg in args])
        return self.builder.call(self.builder.inttoptr(function, kind.as_pointer()), args)

    def block(self, name: str) -> ir.Block:
        return self.function.append_basic_block(name)


def _handler(module: ir.Module, guard: ir.GlobalVariable) -> ir.Function:
    """`guard` holds the address of the GUARD record."""
    kind = ir.FunctionType(ir.VoidType(), [I32, PLACE, PLACE])
    function = ir.Function(module, kind, "qrt_on_fault")
    function.linkage = "internal"
    body = _Body(function)
    builder, entry = body.builder, body.builder.block
    search, there, advance, ours, foreign, sent, done = (
        body.block(name) for name in ("search", "there", "next", "ours", "foreign", "sent", "done")
    )
    signal, info, _ = function.args
    record = builder.load_atomic(guard, "seq_cst", 8)
    info = builder.ptrtoint(info, I64)
    fault = body.load(body.add(info, FAULT_AT))
    first = body.add(record, GUARD.size)
    end = builder.add(
        first, builder.mul(body.load(body.add(record, GUARD.n_ranges)), I64(GUARDED.size))
    )
    is_fault = builder.icmp_signed(">", body.load(body.add(info, CODE), I32), I32(0))
    builder.cbranch(is_fault, search, foreign)

    builder.position_at_end(search)
    place = builder.phi(I64)
    place.add_incoming(first, entry)
    builder.cbranch(builder.icmp_unsigned("<", place, end), there, foreign)

    builder.position_at_end(there)
    start, stop = (body.load(body.add(place, at)) for at in (GUARDED.start, GUARDED.end))
    from_start = builder.icmp_unsigned(">=", fault, start)
    is_ours = builder.and_(from_start, builder.icmp_unsigned("<", fault, stop))
    builder.cbranch(is_ours, ours, advance)

    builder.position_at_end(advance)
    place.add_incoming(body.add(place, GUARDED.size), advance)
    builder.branch(search)

    builder.position_at_end(ours)  # the flag first: who reads zeros finds it
    body.store(body.add(place, GUARDED.damaged), 1)
    flags = I32(READ_ONLY), I32(PRIVATE_ZEROS_THERE), I32(-1), I64(0)
    map_zeros = body.load(body.add(record, GUARD.mmap))
    got = body.call(map_zeros, I64, start, builder.sub(stop, start), *flags)
    builder.cbranch(builder.icmp_unsigned("==", got, start), done, foreign)

    builder.position_at_end(foreign)
    previous = body.load(body.add(record, GUARD.previous))
    set_action = body.load(body.add(record, GUARD.sigaction))
    body.call(set_action, I32, signal, previous, I64(0))
    body.store(previous, 0)  # a second time it ends the process, whoever hands on to whom
    builder.cbranch(is_fault, done, sent)

    builder.position_at_end(sent)
    body.call(body.load(body.add(record, GUARD.raise_signal)), I32, signal)
    builder.branch(done)

    builder.position_at_end(done)
    builder.ret_void()
    return function


@intrinsic
def make_handler(typingctx: Any, record: Any) -> Any:
    """The address of a handler that works with the GUARD record at an address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        guard = ir.GlobalVariable(builder.module, I64, "qrt_guard")
        guard.linkage = "internal"
        guard.initializer = I64(0)
        builder.store_atomic(args[0], guard, "seq_cst", 8)
        return builder.ptrtoint(_handler(builder.module, guard), I64)

    return types.int64(types.int64), codegen


def build() -> Any:
    def guard(step, args, thread, n_threads):
        store_i64(args + GUARD.handler, make_handler(args))

    return guard

"""The tape interpreter: walks (kernel, args, barrier) records on every thread of a team.

The barrier is a counter and a phase number on cache lines of their own. The last thread to arrive
reads the step's cancel word, so that all threads stop at the same record or none does. A thread
that has waited for long gives its core away, so more threads than cores, or a CPU quota, are safe.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from qrt.kernels.intrinsics import fetch_add, load_i64, store_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import STEP, TAPE, TEAM
from qrt.kernels.llvm import I32, I64, is_arm

SPINS = 2000
"""Pauses (some 40 ns each) before a waiting thread yields its core: 80 us, more than threads are
apart at a barrier while each has a core, less than a time slice of the system (1 ms and more)."""

IDLE_YIELDS = 3000
"""Yields before an idle worker goes back to be parked."""


@intrinsic
def call_kernel(
    typingctx: Any, kernel: Any, step: Any, args: Any, thread: Any, n_threads: Any, scratch: Any
) -> Any:
    """Calls a compiled kernel by address; numba's convention wants two scratch addresses first."""

    def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        fn = ir.FunctionType(I32, [I64.as_pointer(), I64.as_pointer(), I64, I64, I64, I64])
        address, *operands, space = values
        space = builder.inttoptr(space, I64.as_pointer())
        callee = builder.inttoptr(address, fn.as_pointer())
        builder.call(callee, [space, space, *operands])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


@intrinsic
def yield_core(typingctx: Any, function: Any) -> Any:
    """Calls `int function(void)` by address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.call(builder.inttoptr(args[0], ir.FunctionType(I32, []).as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tells the core that this thread spins."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        arm = is_arm(builder.module)
        declared = ir.FunctionType(ir.VoidType(), [I32] if arm else [])
        name = "llvm.aarch64.isb" if arm else "llvm.x86.sse2.pause"
        fn = cgutils.get_or_insert_function(builder.module, declared, name)
        builder.call(fn, [I32(15)] if arm else [])  # ARM's own hint takes no time at all
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """Reads a word that other threads write."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.int64), codegen


@inline
def barrier(team, step, n_threads):
    """Waits for all threads; whether the step was cancelled."""
    phase = atomic_load(team + TEAM.phase)
    if fetch_add(team + TEAM.arrived, 1) == n_threads - 1:
        store_i64(team + TEAM.arrived, 0)
        store_i64(team + TEAM.stop, atomic_load(step + STEP.cancel))
        fetch_add(team + TEAM.phase, 1)
    else:
        spins = 0
        while atomic_load(team + TEAM.phase) == phase:
            spins += 1
            if spins < SPINS:
                pause()
            else:
                yield_core(load_i64(team + TEAM.yield_now))
    return atomic_load(team + TEAM.stop)


@inline
def walk(team, scratch, thread, n_threads):
    """Walks the tape of the team's job to its end, or to where it is cancelled."""
    record, step = load_i64(team + TEAM.tape), load_i64(team + TEAM.step)
    end = record + TAPE.size * load_i64(team + TEAM.n_records)
    while record < end:
        kernel, args = load_i64(record + TAPE.kernel), load_i64(record + TAPE.args)
        call_kernel(kernel, step, args, thread, n_threads, scratch)
        if load_i64(record + TAPE.barrier) and barrier(team, step, n_threads):
            break
        record += TAPE.size


@inline
def await_job(team, seen):
    """Spins until the team's job number is not `seen`, or for too long; the job number."""
    for i in range(SPINS + IDLE_YIELDS):
        if atomic_load(team + TEAM.job) != seen:
            break
        if i < SPINS:
            pause()
        else:
            yield_core(load_i64(team + TEAM.yield_now))
    return atomic_load(team + TEAM.job)


def build_run() -> Any:
    def run(team, scratch, thread, n_threads):
        """Posts the team's job and takes part in it as its first thread."""
        fetch_add(team + TEAM.job, 1)
        walk(team, scratch, thread, n_threads)

    return run


def build_work() -> Any:
    def work(team, seen, thread, n_threads):
        """A worker: job after job until none comes. `seen`: the last job done, then scratch."""
        job = await_job(team, load_i64(seen))
        while job != load_i64(seen):
            walk(team, seen + 8, thread, n_threads)
            store_i64(seen, job)
            job = await_job(team, job)

    return work

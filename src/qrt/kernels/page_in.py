"""Asks the system for the pages of chosen experts, before their matmuls touch them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import ACTIVE, PAGE_IN, ROUTING
from qrt.kernels.llvm import I32, I64

WILL_NEED = 3
"""POSIX's MADV_WILLNEED, the same number on Linux and macOS."""


@intrinsic
def advise(typingctx: Any, function: Any, start: Any, n: Any, advice: Any) -> Any:
    """Calls `int madvise(void *, size_t, int)` by address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, start, n, advice = args
        callee = builder.inttoptr(function, ir.FunctionType(I32, [I64, I64, I32]).as_pointer())
        answer = builder.call(callee, [start, n, builder.trunc(advice, I32)])
        return builder.sext(answer, I64)

    return types.int64(*[types.int64] * 4), codegen


def build() -> Any:
    def page_in(step, args, thread, n_threads):
        weights, size = load_i64(args + PAGE_IN.weights), load_i64(args + PAGE_IN.n_bytes)
        page, routing = load_i64(args + PAGE_IN.page), load_i64(args + PAGE_IN.routing)
        n = min(load_i64(routing + ROUTING.n_active), load_i64(args + PAGE_IN.most))
        for i in range(thread, n, n_threads):
            active = routing + ROUTING.size + i * ACTIVE.size
            start = weights + load_i64(active + ACTIVE.expert) * size
            begin = start // page * page
            advise(load_i64(args + PAGE_IN.madvise), begin, start + size - begin, WILL_NEED)

    return page_in

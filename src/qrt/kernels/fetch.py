"""Reads parts of a file into memory on all threads, and checks them while they are in the cache."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from qrt.kernels.intrinsics import lane, load_i32x16, load_i64, store_i64
from qrt.kernels.jit import inline
from qrt.kernels.layout import FETCH
from qrt.kernels.llvm import I32, I64

MIX = 0x9E3779B1 - (1 << 32)
MIX_WIDE = 0x1E3779B97F4A7C15
"""Odd, so that multiplying loses nothing: any change of a single word changes the sum."""

TRIES = 100
"""Reads that a signal may interrupt, one after another."""


@intrinsic
def read_at(typingctx: Any, function: Any, file: Any, target: Any, n: Any, offset: Any) -> Any:
    """Calls `ssize_t pread(int, void *, size_t, off_t)` by address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, number, *rest = args
        callee = builder.inttoptr(function, ir.FunctionType(I64, [I32, I64, I64, I64]).as_pointer())
        return builder.call(callee, [builder.trunc(number, I32), *rest])

    return types.int64(*[types.int64] * 5), codegen


@inline
def read_all(args, at, end):
    """Reads bytes at..end of what is to be fetched; 1 where the file ends before."""
    function, file = load_i64(args + FETCH.read), load_i64(args + FETCH.file)
    target, offset = load_i64(args + FETCH.target), load_i64(args + FETCH.offset)
    tries = 0
    while at < end:
        n = read_at(function, file, target + at, end - at, offset + at)
        if n > 0:
            at += n
            tries = 0
        elif n == 0 or tries == TRIES:
            return 1
        else:
            tries += 1
    return 0


@inline
def checksum(p, n):
    """A sum of n bytes, a multiple of 256, that depends on their order."""
    a, b = load_i32x16(p), load_i32x16(p + 64)
    c, d = load_i32x16(p + 128), load_i32x16(p + 192)
    for at in range(p + 256, p + n, 256):
        a = (a * MIX) ^ load_i32x16(at)
        b = (b * MIX) ^ load_i32x16(at + 64)
        c = (c * MIX) ^ load_i32x16(at + 128)
        d = (d * MIX) ^ load_i32x16(at + 192)
    lanes = (((((a * MIX) ^ b) * MIX) ^ c) * MIX) ^ d
    total = n
    for i in range(16):
        total = (total ^ lane(lanes, i)) * MIX_WIDE
    return total


def build() -> Any:
    def fetch(step, args, thread, n_threads):
        n_bytes, unit = load_i64(args + FETCH.n_bytes), load_i64(args + FETCH.unit)
        sums, read = load_i64(args + FETCH.sums), load_i64(args + FETCH.read)
        n_units = (n_bytes + unit - 1) // unit
        first, last = n_units * thread // n_threads, n_units * (thread + 1) // n_threads
        failed = 0
        if not sums:
            if read:
                failed = read_all(args, first * unit, min(last * unit, n_bytes))
        else:
            for i in range(first, last):
                at, end = i * unit, min((i + 1) * unit, n_bytes)
                if read:
                    failed |= read_all(args, at, end)
                p = load_i64(args + FETCH.target) + at
                store_i64(sums + 8 * i, checksum(p, end - at))
        if failed:
            store_i64(load_i64(args + FETCH.failed), 1)

    return fetch

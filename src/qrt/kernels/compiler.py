"""Compiles kernels to objects as a child process: `python -m qrt.kernels.compiler TIER [TRIPLE]`.

Reads kernel names from standard input, a line each; answers each on standard output by a line
`NAME SYMBOL SIZE` and SIZE bytes of object code, or `NAME ! MESSAGE`. The parent sets numba's CPU;
TRIPLE names another machine to compile for.
"""

from __future__ import annotations

import gc
import importlib
import sys
from contextlib import suppress
from typing import BinaryIO

import llvmlite.binding
import numba

from qrt.kernels import instructions
from qrt.kernels.catalog import builder_of
from qrt.kernels.jit import KERNEL, OPTIONS

LLVM_OPTIONS = ("-unroll-full-max-count=0", "-unroll-max-count=1")
"""Loops stay loops: unrolled, the scheduler gathers all prefetches of a block in one burst, which
costs a third of the bandwidth, and spills registers."""


def compile_kernel(name: str) -> tuple[str, bytes]:
    """The symbol and object code of kernel `name` for the selected tier."""
    family, *parameters = name.split(".")
    module, builder = builder_of(family)
    function = getattr(importlib.import_module(f"qrt.kernels.{module}"), builder)(*parameters)
    function.__name__ = function.__qualname__ = name.replace(".", "_")
    compiled = numba.njit(KERNEL, **OPTIONS)(function).overloads[KERNEL.args]
    return compiled.fndesc.llvm_func_name, compiled.library.object_code()


def compile_for(triple: str) -> None:
    """Lets numba take `triple` for this machine's; what it compiles then is not called."""
    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    llvmlite.binding.get_process_triple = lambda: triple


def main() -> None:
    for option in LLVM_OPTIONS:
        llvmlite.binding.set_option("qrt", option)
    tier, *triple = sys.argv[1:]
    instructions.select(tier)
    if triple:
        compile_for(triple[0])
    with suppress(BrokenPipeError):  # the parent is gone
        answer(sys.stdout.buffer)


def answer(out: BinaryIO) -> None:
    """Compiles what standard input asks for until it ends."""
    gc.freeze()
    gc.disable()  # what a kernel leaves is collected once; while it is compiled that is in vain
    for line in sys.stdin:
        name = line.strip()
        try:
            symbol, code = compile_kernel(name)
        except Exception as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            out.write(f"{name} ! {message[:300]}\n".encode())
        else:
            out.write(f"{name} {symbol} {len(code)}\n".encode() + code)
        out.flush()
        gc.collect()


if __name__ == "__main__":
    main()

"""How kernels read each block format: one `build(update, fetch)` a file of its name.

`build` returns `visit(state, p, x, step)`, which walks one packed block of 16 rows at address `p`
and calls `state = update(state, codes, scales, mins, x)` for every 32 values in turn, x going on by
`step` each time. `codes` are 128 lanes of i32: 4 consecutive k of 16 rows per 16 lanes. `scales`
and `mins` are tuples of F32x16: one for all 32 values or two for 16 each. `fetch(p, n)` is called
for all bytes of the block, a few lines between one sum and the next: bursts of prefetches stall.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def visit_of(qtype: str) -> Callable[[Any, Any], Any]:
    """`build` of a format's file, the only one that is imported."""
    build: Callable[[Any, Any], Any] = import_module(f"{__name__}.{qtype.lower()}").build
    return build

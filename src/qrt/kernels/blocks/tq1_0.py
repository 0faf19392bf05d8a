"""TQ1_0: scale * (digit - 1)."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.digits import walk
from qrt.kernels.blocks.parts import in_a_row
from qrt.kernels.intrinsics import load_f16x16
from qrt.kernels.jit import inline


def build(update: Any, fetch: Any) -> Any:
    ask = in_a_row(fetch, 108)

    @inline
    def use(state, p, d, run, codes, x):
        ask(p + 108 * run)
        return update(state, codes, (d,), (), x)

    digits = walk(use)

    @inline
    def visit(state, p, x, step):
        return digits(state, p, load_f16x16(p), p + 32, x, step)

    return visit

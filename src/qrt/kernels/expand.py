"""Panels laid out anew where points of a grid become digits, which are read faster."""

from __future__ import annotations

from typing import Any

from qrt.kernels.blocks.expand_iq1 import expand_iq1_m, expand_iq1_s
from qrt.kernels.blocks.expand_iq2_s import expand_iq2_s
from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import EXPAND
from qrt.kernels.panels import PANEL_FORMATS

BLOCKS = {"IQ1_S": expand_iq1_s, "IQ1_M": expand_iq1_m, "IQ2_S": expand_iq2_s}


def build(qtype: str) -> Any:
    fmt, block = PANEL_FORMATS[qtype], BLOCKS[qtype]
    size, panel_bytes = 16 * fmt.block_bytes, fmt.panel_bytes

    def expand(step, args, thread, n_threads):
        n_panels, n_blocks = load_i64(args + EXPAND.n_panels), load_i64(args + EXPAND.n_blocks)
        first, end = n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads
        source, target = load_i64(args + EXPAND.source), load_i64(args + EXPAND.target)
        for i in range(first * n_blocks, end * n_blocks):
            block(source + i * size, target + i * panel_bytes)

    return expand

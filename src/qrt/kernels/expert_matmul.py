"""Matmul of routed rows with the matrices of their experts.

Threads take pieces of work, some panels of one expert, from a queue: experts have uneven numbers of
rows. Arithmetic and order are those of `matmul`, so a row's result does not depend on its
neighbours.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import fetch_add, load_f32, load_i64, store_i64
from qrt.kernels.layout import ACTIVE, EXPERT_MATMUL, ROUTING, SCRATCH, STEP
from qrt.kernels.matmul import few_rows, x_bytes
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat

LEAST, MOST = 128 * 1024, 1024 * 1024
"""Bytes of weights in a piece of work. Where there are many, memory is better read in long runs."""
PIECES = 8
"""Pieces for each thread, if they have that many bytes."""


def expert_matmul_of(fmt: PanelFormat, multiply: Any) -> Any:
    """The kernel whose pieces of work `multiply` does, as `matmul.few_rows` describes it."""
    row_bytes, block_bytes, block_size = x_bytes(fmt), fmt.panel_bytes, fmt.block_size

    def expert_matmul(step, args, thread, n_threads):
        n_in, n_out = load_i64(args + EXPERT_MATMUL.n_in), load_i64(args + EXPERT_MATMUL.n_out)
        weights, x = load_i64(args + EXPERT_MATMUL.weights), load_i64(args + EXPERT_MATMUL.x)
        biases, scales = load_i64(args + EXPERT_MATMUL.bias), load_i64(args + EXPERT_MATMUL.scales)
        out, routing = load_i64(args + EXPERT_MATMUL.out), load_i64(args + EXPERT_MATMUL.routing)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_panels, panel_bytes = (n_out + 15) >> 4, n_in // block_size * block_bytes
        n_active = load_i64(routing + ROUTING.n_active)
        at_once = n_active * n_panels // (PIECES * n_threads)
        at_once = min(max(at_once, LEAST // panel_bytes), MOST // panel_bytes)
        at_once = max(2, at_once & -2)
        n_pieces = (n_panels + at_once - 1) // at_once
        n_all = n_pieces * n_active
        piece = fetch_add(args + EXPERT_MATMUL.next, 1)
        while piece < n_all:
            active = routing + ROUTING.size + piece // n_pieces * ACTIVE.size
            expert, rows = load_i64(active + ACTIVE.expert), load_i64(active + ACTIVE.first)
            panel = piece % n_pieces * at_once
            multiply(
                scratch,
                weights + expert * n_panels * panel_bytes,
                x + rows * n_in * row_bytes,
                n_in,
                n_in,
                panel,
                min(panel + at_once, n_panels),
                rows,
                load_i64(active + ACTIVE.n_rows),
                load_f32(scales + 4 * expert) if scales else 1.0,
                biases + 4 * expert * n_out if biases else 0,
                args,
                out,
            )
            piece = fetch_add(args + EXPERT_MATMUL.next, 1)
        if piece == n_all + n_threads - 1:  # the last to find nothing
            store_i64(args + EXPERT_MATMUL.next, 0)

    return expert_matmul


def build(qtype: str, tile_rows: str) -> Any:
    """The kernel for experts of `qtype` and tiles of `tile_rows` routed rows."""
    fmt = PANEL_FORMATS[qtype]
    return expert_matmul_of(fmt, few_rows(fmt, int(tile_rows)))

"""Matmul with a matrix of its own for each head: out[h] = x[h] @ w[h].T.

Threads share out the panels of all heads. Arithmetic and order are those of `matmul`.
"""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import HEAD_MATMUL, SCRATCH, STEP
from qrt.kernels.matmul import few_rows, rows_and_target, x_bytes
from qrt.kernels.panels import PANEL_FORMATS, PanelFormat


def head_matmul_of(fmt: PanelFormat, multiply: Any, tile: int) -> Any:
    """The kernel whose panels `multiply` does, as `matmul.few_rows` describes it; activations lie
    in tiles of `tile` rows.
    """
    row_bytes, block_bytes, block_size = x_bytes(fmt), fmt.panel_bytes, fmt.block_size

    def head_matmul(step, args, thread, n_threads):
        n_in, n_out = load_i64(args + HEAD_MATMUL.n_in), load_i64(args + HEAD_MATMUL.n_out)
        weights, x = load_i64(args + HEAD_MATMUL.weights), load_i64(args + HEAD_MATMUL.x)
        n_heads = load_i64(args + HEAD_MATMUL.n_heads)
        scratch = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, out = rows_and_target(step, args)
        n_panels, panel_bytes = (n_out + 15) >> 4, n_in // block_size * block_bytes
        at = n_heads * n_panels * thread // n_threads
        end = n_heads * n_panels * (thread + 1) // n_threads
        while at < end:
            head, panel = at // n_panels, at % n_panels
            n_here = min(n_panels - panel, end - at)
            multiply(
                scratch,
                weights + head * n_panels * panel_bytes,
                x + head * n_in * row_bytes * tile,
                n_heads * n_in,
                n_in,
                panel,
                panel + n_here,
                0,
                n_rows,
                1.0,
                0,
                args,
                out + 4 * head * n_out,
            )
            at += n_here

    return head_matmul


def build(qtype: str, tile_rows: str) -> Any:
    """The kernel for weights of `qtype` and tiles of `tile_rows` activation rows."""
    fmt, tile = PANEL_FORMATS[qtype], int(tile_rows)
    return head_matmul_of(fmt, few_rows(fmt, tile), tile)

"""Matmul of bf16 lines with a matrix of its own for each head, on tile registers."""

from __future__ import annotations

from typing import Any

from qrt.kernels.intrinsics import load_i64
from qrt.kernels.layout import HEAD_MATMUL_AMX, SCRATCH, STEP
from qrt.kernels.matmul import rows_and_target
from qrt.kernels.matmul_amx import TILE_BYTES, wide_panels
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.tiles import begin_tiles, end_tiles


def build(qtype: str) -> Any:
    fmt = PANEL_FORMATS[qtype]
    some_panels, block_bytes, block_size = wide_panels(fmt), 16 * fmt.block_bytes, fmt.block_size

    def head_matmul_amx(step, args, thread, n_threads):
        n_in, n_out = load_i64(args + HEAD_MATMUL_AMX.n_in), load_i64(args + HEAD_MATMUL_AMX.n_out)
        weights, x = load_i64(args + HEAD_MATMUL_AMX.weights), load_i64(args + HEAD_MATMUL_AMX.x)
        n_heads = load_i64(args + HEAD_MATMUL_AMX.n_heads)
        wide_bytes = load_i64(args + HEAD_MATMUL_AMX.wide_bytes)
        wide = load_i64(args + HEAD_MATMUL_AMX.wide) + thread * wide_bytes
        registers = load_i64(step + STEP.scratch) + thread * SCRATCH
        n_rows, out = rows_and_target(step, args)
        n_panels = (n_out + 15) >> 4
        matrix_bytes = n_panels * (n_in // block_size * block_bytes)
        begin_tiles(registers)
        for head in range(n_heads * thread // n_threads, n_heads * (thread + 1) // n_threads):
            some_panels(
                registers,
                wide,
                wide_bytes,
                weights + head * matrix_bytes,
                x + head * (n_in >> 5) * TILE_BYTES,
                n_heads * n_in,
                n_in,
                0,
                n_panels if n_rows else 0,
                n_rows,
                1.0,
                0,
                args,
                out + 4 * head * n_out,
            )
        end_tiles()

    return head_matmul_amx

"""Matmul of many rows with a matrix of its own for each head: a panel is taken apart once."""

from __future__ import annotations

from typing import Any

from qrt.kernels.head_matmul import head_matmul_of
from qrt.kernels.layout import ROW_TILE
from qrt.kernels.matmul_prefill import many_rows
from qrt.kernels.panels import PANEL_FORMATS


def build(qtype: str, rows_at_once: str, panels_at_once: str) -> Any:
    """The kernel for weights of `qtype`; see `matmul_prefill.many_rows`."""
    fmt, rows = PANEL_FORMATS[qtype], int(rows_at_once)
    multiply = many_rows(fmt, rows, int(panels_at_once))
    return head_matmul_of(fmt, multiply, max(ROW_TILE, rows))

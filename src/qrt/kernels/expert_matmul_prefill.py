"""Matmul of many routed rows with the matrices of their experts: a panel is taken apart once."""

from __future__ import annotations

from typing import Any

from qrt.kernels.expert_matmul import expert_matmul_of
from qrt.kernels.matmul_prefill import many_rows
from qrt.kernels.panels import PANEL_FORMATS


def build(qtype: str, rows_at_once: str, panels_at_once: str) -> Any:
    """The kernel for experts of `qtype`; see `matmul_prefill.many_rows`."""
    fmt = PANEL_FORMATS[qtype]
    return expert_matmul_of(fmt, many_rows(fmt, int(rows_at_once), int(panels_at_once)))

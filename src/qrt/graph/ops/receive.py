"""Receive: the hidden states that another part of the model computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import ALL, Op


@dataclass(frozen=True, slots=True)
class Receive(Op):
    """out = the hidden states handed to the step, (n_rows, dim) float32"""

    kind = "receive"

    out: str
    dim: int

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def width(self, widths: Mapping[str, int]) -> int:
        return self.dim

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return ALL

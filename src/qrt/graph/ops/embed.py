"""Embed: the rows of a table that belong to the step's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import ALL, ENCODED, Op, WeightUse, Work


@dataclass(frozen=True, slots=True)
class Embed(Op):
    """out[t] = table[token[t]] * scale; table (n_vocab, dim)"""

    kind = "embed"

    out: str
    table: str
    n_vocab: int
    dim: int
    scale: float = 1.0
    encodes: bool = False
    """Whether it takes the rows that an encoder reads."""

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def width(self, widths: Mapping[str, int]) -> int:
        return self.dim

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.table, (self.n_vocab, self.dim), "table"),)

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return ENCODED if self.encodes else ALL

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(weights={self.table: n_rows / self.n_vocab})

    @property
    def label(self) -> str:
        return self.table

"""AddPositions: learned vectors of absolute positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work


@dataclass(frozen=True, slots=True)
class AddPositions(Op):
    """out = x + table[position]; table (n_positions, width of x)"""

    kind = "add_positions"

    out: str
    x: str
    table: str
    n_positions: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.table, (self.n_positions, widths[self.x]), "table"),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(weights={self.table: min(1.0, n_rows / self.n_positions)})

    @property
    def n_known_positions(self) -> int:
        return self.n_positions

    @property
    def label(self) -> str:
        return self.table

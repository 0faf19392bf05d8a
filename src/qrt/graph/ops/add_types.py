"""AddTypes: learned vectors of the types of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class AddTypes(Op):
    """out = x + table[type of the token]; table (n_types, width of x)"""

    kind = "add_types"

    out: str
    x: str
    table: str
    n_rows: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.table, (self.n_rows, widths[self.x])),)

    @property
    def n_types(self) -> int:
        return self.n_rows

    @property
    def label(self) -> str:
        return self.table

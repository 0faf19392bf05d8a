"""Add: the sum of two values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Add(Op):
    """out = a + b"""

    kind = "add"

    out: str
    a: str
    b: str

    @property
    def reads(self) -> tuple[str, ...]:
        return self.a, self.b

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.a] == widths[self.b], self.out
        return widths[self.a]

"""Gate: a value times the sigmoid of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Gate(Op):
    """out = x * sigmoid(gate); gate is as wide as x, or one value for the whole row."""

    kind = "gate"
    hands_over = True

    out: str
    x: str
    gate: str

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.gate

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.gate] in (1, widths[self.x]), self.out
        return widths[self.x]

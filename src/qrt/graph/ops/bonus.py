"""Bonus: what RWKV-7 gives a row of its own value (Peng et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class Bonus(Op):
    """out = (x + v * sum of r * k * weight in each head) * gate; weight (width of x,)

    Without a gate nothing scales the result.
    """

    kind = "bonus"
    hands_over = True

    out: str
    x: str
    r: str
    k: str
    v: str
    weight: str
    head_dim: int
    gate: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        values = (self.x, self.r, self.k, self.v)
        return values if self.gate is None else (*values, self.gate)

    def width(self, widths: Mapping[str, int]) -> int:
        width = widths[self.x]
        assert width % self.head_dim == 0, self.out
        assert all(widths[value] == width for value in self.reads), self.out
        return width

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.weight, (widths[self.x],)),)

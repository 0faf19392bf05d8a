"""Linear: a matrix product and a bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """out = (x @ weight.T) * scale + bias; weight (n_out, width of x), scale (1,), bias (n_out,)"""

    kind = "linear"
    share = "panels"
    takes_residual = True
    places_output = True

    out: str
    x: str
    weight: str
    n_out: int
    bias: str | None = None
    scale: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        return self.n_out

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        uses = [WeightUse(self.weight, (self.n_out, widths[self.x]), "matmul", self.x)]
        if self.bias is not None:
            uses.append(WeightUse(self.bias, (self.n_out,)))
        if self.scale is not None:
            uses.append(WeightUse(self.scale, (1,)))
        return tuple(uses)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(2 * n_rows * widths[self.x] * self.n_out)

    @property
    def label(self) -> str:
        return self.weight

"""ExpertLinear: each routed row meets the matrix of its expert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work


@dataclass(frozen=True, slots=True)
class ExpertLinear(Op):
    """out = (x @ weight[e].T) * scale[e] + bias[e], e being the expert of each row of x.

    weight (n_experts, n_out, width of x), scale (n_experts,), bias (n_experts, n_out)
    """

    kind = "expert_linear"
    share = "queue"
    looks_up = "routing"

    out: str
    x: str
    route: str
    weight: str
    n_experts: int
    n_used: int
    n_out: int
    bias: str | None = None
    scale: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.route

    def width(self, widths: Mapping[str, int]) -> int:
        return self.n_out

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_experts, self.n_out, widths[self.x])
        uses = [WeightUse(self.weight, shape, "matmul", self.x)]
        if self.bias is not None:
            uses.append(WeightUse(self.bias, (self.n_experts, self.n_out)))
        if self.scale is not None:
            uses.append(WeightUse(self.scale, (self.n_experts,)))
        return tuple(uses)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        """As if rows chose experts at random: few of them share one."""
        share = 1 - (1 - self.n_used / self.n_experts) ** n_rows
        flops = 2 * n_rows * self.n_used * widths[self.x] * self.n_out
        return Work(flops, weights={use.name: share for use in self.weights(widths)})

    @property
    def label(self) -> str:
        return self.weight

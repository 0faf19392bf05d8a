"""ExpertLoraDown: LoraDown with the matrices of the experts that a row is sent to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.ops.lora_down import PANEL, n_runs


@dataclass(frozen=True, slots=True)
class ExpertLoraDown(Op):
    """For each row and each of its `n_used` experts what LoraDown says, one after the other.

    weight (n_experts, 16 * len(adapters), width of x). x has the rows of a step, or with `routed`
    those that Gather made of them. With `weighted` the results are multiplied by the weights of
    the experts.
    """

    kind = "expert_lora_down"
    share = "panels"
    looks_up = "routing"

    out: str
    route: str
    x: str
    weight: str
    n_experts: int
    n_used: int
    adapters: tuple[int, ...]
    routed: bool = False
    weighted: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.route, self.x

    def width(self, widths: Mapping[str, int]) -> int:
        return self.n_used * n_runs(widths[self.x]) * PANEL * len(self.adapters)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_experts, PANEL * len(self.adapters), widths[self.x])
        return (WeightUse(self.weight, shape, "matmul"),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        share = 1 - (1 - self.n_used / self.n_experts) ** n_rows
        flops = 2 * n_rows * self.n_used * widths[self.x] * PANEL * len(self.adapters)
        return Work(flops, weights={self.weight: share})

    @property
    def label(self) -> str:
        return self.weight

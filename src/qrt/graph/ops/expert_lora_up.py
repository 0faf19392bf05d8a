"""ExpertLoraUp: LoraUp with the matrices of the experts that a row is sent to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.ops.lora_up import Part


@dataclass(frozen=True, slots=True)
class ExpertLoraUp(Op):
    """For each routed row what LoraUp says, t being what ExpertLoraDown made.

    weight (n_experts, width of y, sum of ranks)
    """

    kind = "expert_lora_up"
    share = "panels"
    looks_up = "routing"
    overwrites = True

    out: str
    y: str
    t: str
    route: str
    weight: str
    n_experts: int
    n_used: int
    parts: tuple[Part, ...]
    n_runs: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.y, self.t, self.route

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.t] % (self.n_runs * self.n_used) == 0, self.out
        return widths[self.y]

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_experts, widths[self.y], sum(part.rank for part in self.parts))
        return (WeightUse(self.weight, shape, "matmul"),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        share = 1 - (1 - self.n_used / self.n_experts) ** n_rows
        flops = 2 * n_rows * self.n_used * widths[self.y] * sum(part.rank for part in self.parts)
        return Work(flops, weights={self.weight: share})

    @property
    def label(self) -> str:
        return self.weight

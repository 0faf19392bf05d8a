"""LoraUp: the second product of low-rank adapters, added to what they adapt (Hu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work

MAX_RANKS = 1 << 12
"""Of all parts, each filled up to whole panels."""


@dataclass(frozen=True, slots=True)
class Part:
    """One adapter of a weight: its rank, where its values begin in a run of t, and what its product
    is multiplied with beside the scale that a row has for it.
    """

    adapter: int
    rank: int
    at: int
    factor: float


@dataclass(frozen=True, slots=True)
class LoraUp(Op):
    """out = y + sum_p scale[p.adapter] * p.factor * (sum_r t[r, p.at :][: p.rank] @ weight[p].T)

    weight (width of y, sum of ranks), the columns of each part behind those of the one before. t
    has `n_runs` runs of equal width. Of a row whose scale is 0 the part is left out, not added.
    """

    kind = "lora_up"
    share = "panels"
    takes_residual = True
    overwrites = True

    out: str
    y: str
    t: str
    weight: str
    parts: tuple[Part, ...]
    n_runs: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.y, self.t

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.t] % self.n_runs == 0, self.out
        last = max(part.at + part.rank for part in self.parts)
        assert last <= widths[self.t] // self.n_runs, self.out
        return widths[self.y]

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        n_ranks = sum(part.rank for part in self.parts)
        return (WeightUse(self.weight, (widths[self.y], n_ranks), "matmul"),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(2 * n_rows * widths[self.y] * sum(part.rank for part in self.parts))

    @property
    def label(self) -> str:
        return self.weight

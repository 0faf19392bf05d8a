"""LoraDown: the first, narrow product of low-rank adapters (Hu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work

RUN = 256
"""Values of x that are summed up at a time."""
PANEL = 16
"""Rows of a weight that belong to one adapter: a rank is filled up to whole panels."""


def n_runs(n_in: int) -> int:
    """Runs of a row of so many values."""
    return -(-n_in // RUN)


@dataclass(frozen=True, slots=True)
class LoraDown(Op):
    """out[r] = x[run r] @ weight[:, run r].T; weight (16 * len(adapters), width of x)

    The runs of a row are summed apart, so that threads can share a narrow matrix and what reads
    them adds them up in one order. Each 16 rows of the weight are of one adapter; what an adapter
    makes of rows that do not use it may be anything.
    """

    kind = "lora_down"
    share = "panels"

    out: str
    x: str
    weight: str
    adapters: tuple[int, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        return n_runs(widths[self.x]) * PANEL * len(self.adapters)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.weight, (PANEL * len(self.adapters), widths[self.x]), "matmul"),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(2 * n_rows * widths[self.x] * PANEL * len(self.adapters))

    @property
    def label(self) -> str:
        return self.weight

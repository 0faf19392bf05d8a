"""Norm: RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class Norm(Op):
    """Normalizes runs of `group` values: the whole row, or each head; weight and bias (group,).

    Without a weight nothing scales the result. With `own_weights` every run has its own, weight
    (n_runs, group), and there is no bias.
    """

    kind = "norm"
    hands_over = True

    out: str
    x: str
    weight: str | None
    group: int
    eps: float
    norm: Literal["rms", "layer"] = "rms"
    bias: str | None = None
    own_weights: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] % self.group == 0, self.out
        return widths[self.x]

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        if self.own_weights:
            assert self.weight is not None, self.out
            assert self.bias is None, self.out
            return (WeightUse(self.weight, (widths[self.x] // self.group, self.group)),)
        names = (self.weight, self.bias)
        return tuple(WeightUse(name, (self.group,)) for name in names if name is not None)

    @property
    def label(self) -> str:
        return self.weight or self.out

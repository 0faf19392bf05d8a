"""LayerScale: each channel times a learned factor (Touvron et al. 2021), plus a learned summand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class LayerScale(Op):
    """out = x * weight + bias; both (width of x,)"""

    kind = "layer_scale"
    hands_over = True

    out: str
    x: str
    weight: str
    bias: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        names = (self.weight, self.bias)
        return tuple(WeightUse(name, (widths[self.x],)) for name in names if name is not None)

    @property
    def label(self) -> str:
        return self.weight

"""LayerScale: each channel times a learned factor (Touvron et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class LayerScale(Op):
    """out = x * weight; weight (width of x,)"""

    kind = "layer_scale"
    hands_over = True

    out: str
    x: str
    weight: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return (WeightUse(self.weight, (widths[self.x],)),)

    @property
    def label(self) -> str:
        return self.weight

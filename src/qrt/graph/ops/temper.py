"""Temper: queries scaled by how far their position lies behind the length of training."""

from __future__ import annotations

from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Temper(Op):
    """out = x * (1 + scale * log(1 + floor((position + offset) / length)))

    Attention temperature tuning of Llama 4 (offset 1) and Mistral 3 (offset 0).
    """

    kind = "temper"
    overwrites = True

    out: str
    x: str
    length: int
    scale: float
    offset: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

"""Xielu: the activation of Apertus (Huang and Schlag 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Xielu(Op):
    """out = bend(x) + beta * x

    Above 0 bend is alpha_p * x**2, elsewhere alpha_n * (exp(min(x, eps)) - 1 - x). The alphas are
    what softplus makes of the learned ones, alpha_n with beta added.
    """

    kind = "xielu"
    hands_over = True
    overwrites = True

    out: str
    x: str
    alpha_p: float
    alpha_n: float
    beta: float
    eps: float

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        return widths[self.x]

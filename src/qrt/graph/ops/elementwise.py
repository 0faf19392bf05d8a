"""Elementwise: a function of each value alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op

Function = Literal[
    "silu",
    "gelu",
    "gelu_erf",
    "relu",
    "relu2",
    "sigmoid",
    "decay",
    "scale",
    "softcap",
    "clamp",
    "sigmoid_decay",
]


@dataclass(frozen=True, slots=True)
class Elementwise(Op):
    """out = function(x), with one parameter p where it has one.

    gelu is the tanh form; relu2 is relu(x)**2, decay exp(-exp(x)); scale is p * x, softcap
    p * tanh(x / p), clamp x from -p to p, sigmoid_decay exp(-p * sigmoid(x)).
    """

    kind = "elementwise"
    hands_over = True
    overwrites = True

    out: str
    x: str
    function: Function
    parameter: float = 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        return widths[self.x]

"""Glu: a gated activation (Shazeer 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Glu(Op):
    """out = act(gate) * up; gelu is the tanh form"""

    kind = "glu"
    hands_over = True

    out: str
    gate: str
    up: str
    act: Literal["silu", "gelu"] = "silu"

    @property
    def reads(self) -> tuple[str, ...]:
        return self.gate, self.up

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.gate] == widths[self.up], self.out
        return widths[self.up]

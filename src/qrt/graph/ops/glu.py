"""Glu: a gated activation (Shazeer 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Glu(Op):
    """out = act(gate) * up; gelu is the tanh form, relu2 is relu(x)**2, linear is x

    Without `up`, the first half of `gate` is the gate and the second what it meets. "oai" is
    gpt-oss's: min(gate, 7) * sigmoid(1.702 * min(gate, 7)) * (clamp(up, -7, 7) + 1).
    """

    kind = "glu"
    hands_over = True

    out: str
    gate: str
    up: str | None
    act: Literal["silu", "gelu", "gelu_erf", "relu", "relu2", "oai", "linear"] = "silu"

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.gate,) if self.up is None else (self.gate, self.up)

    def width(self, widths: Mapping[str, int]) -> int:
        if self.up is None:
            assert widths[self.gate] % 2 == 0, self.out
            return widths[self.gate] // 2
        assert widths[self.gate] == widths[self.up], self.out
        return widths[self.up]

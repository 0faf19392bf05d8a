"""Rescale: values brought to the magnitude of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class Rescale(Op):
    """out = x * sqrt(mean(like**2) / max(mean(x**2), floor)), in runs as wide as `like`."""

    kind = "rescale"

    out: str
    x: str
    like: str
    floor: float

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.like

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] % widths[self.like] == 0, self.out
        return widths[self.x]

"""A toy op: a recurrent scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse
from qrt.graph.state import Recurrent

N_TAIL = 3
"""Rows of x that the scan's convolution sees before the row's own."""


@dataclass(frozen=True, slots=True)
class Scan(Op):
    """h = sigmoid(decay) * h + sum of the last rows of x times taps; out = h * x.

    Its state is h and the last N_TAIL rows, float32.
    """

    kind = "scan"
    share = "heads"

    out: str
    x: str
    decay: str
    taps: str
    layer: int
    dim: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        taps = WeightUse(self.taps, (N_TAIL + 1, self.dim), "table")
        return WeightUse(self.decay, (self.dim,)), taps

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * (1 + N_TAIL) * self.dim, "scan")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

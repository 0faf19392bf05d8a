"""Three toy ops: a recurrent scan, the choice of experts, rows taken to an expert and put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import ALL, Op, WeightUse
from qrt.graph.state import Recurrent

N_TAIL = 3
"""Rows of x that the scan's convolution sees before the row's own."""


@dataclass(frozen=True, slots=True)
class Scan(Op):
    """h = sigmoid(decay) * h + sum of the last rows of x times taps; out = h * x.

    Its state is h and the last N_TAIL rows, float64.
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
        return Recurrent((self.layer,), 8 * (1 + N_TAIL) * self.dim)

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes


@dataclass(frozen=True, slots=True)
class Route(Op):
    """The softmax over experts of each row, all but the two best set to 0: (n_rows, n_experts)."""

    kind = "route"

    out: str
    x: str
    weight: str
    n_experts: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        return self.n_experts

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_experts, widths[self.x])
        return (WeightUse(self.weight, shape, "matmul", self.x),)


@dataclass(frozen=True, slots=True)
class Take(Op):
    """The rows of x that are routed to an expert; what follows runs on those alone."""

    kind = "take"
    share = "gather"

    out: str
    x: str
    route: str
    expert: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.x, self.route

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return f"expert {self.expert}"


@dataclass(frozen=True, slots=True)
class Put(Op):
    """base, with an expert's rows x added where they were taken, times their weights."""

    kind = "put"
    share = "gather"

    out: str
    base: str
    x: str
    route: str
    expert: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.base, self.x, self.route

    def rows(self, rows_of: Mapping[str, str]) -> str:
        return ALL

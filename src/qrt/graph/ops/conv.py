"""Conv: a causal convolution over positions, each channel by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, Part, WeightUse, Work
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """out[t] = bias + sum_j weight[:, j] * x[t - n_taps + 1 + j], then silu(out) if asked for.

    x are `dim` columns, weight (dim, n_taps), bias (dim,). What precedes the sequence is 0; its
    last n_taps - 1 rows are the state (n_taps - 1, dim).
    """

    kind = "conv"
    share = "heads"

    out: str
    x: Part
    weight: str
    bias: str | None
    layer: int
    dim: int
    n_taps: int
    silu: bool = False
    state: str = "conv"
    """The kind of its state: of several in a layer each has its own."""

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x.value,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert self.x.start + self.dim <= widths[self.x.value], self.out
        return self.dim

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        weight = WeightUse(self.weight, (self.dim, self.n_taps), "lanes")
        return (weight,) if self.bias is None else (weight, WeightUse(self.bias, (self.dim,)))

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * (self.n_taps - 1) * self.dim, self.state)

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(2 * n_rows * self.dim * self.n_taps)

    @property
    def label(self) -> str:
        return self.weight

"""Lerp: from one value towards another, by factors of each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse


@dataclass(frozen=True, slots=True)
class Lerp(Op):
    """out = x + (other - x) * (weight + more); weight (width of x,), more a value.

    Either may be left out. A weight of `n_weights` such rows, (n_weights, 1, 1, width of x), and
    a value `more` of several side by side give their part `part`.
    """

    kind = "lerp"
    hands_over = True

    out: str
    x: str
    other: str
    weight: str | None = None
    more: str | None = None
    part: int = 0
    n_weights: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x, self.other) if self.more is None else (self.x, self.other, self.more)

    def width(self, widths: Mapping[str, int]) -> int:
        n_in = widths[self.x]
        assert widths[self.other] == n_in, self.out
        assert self.weight is not None or self.more is not None, self.out
        assert self.n_weights == 1 or self.part < self.n_weights, self.out
        assert self.more is None or (self.part + 1) * n_in <= widths[self.more], self.out
        return n_in

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        n_in, n = widths[self.x], self.n_weights
        shape = (n_in,) if n == 1 else (n, 1, 1, n_in)
        return () if self.weight is None else (WeightUse(self.weight, shape),)

    @property
    def weight_row(self) -> int:
        """Which row of the weight it reads."""
        return self.part if self.n_weights > 1 else 0

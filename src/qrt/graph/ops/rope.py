"""Rope: rotary embedding of positions (Su et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qrt.graph.op import Op


@dataclass(frozen=True, slots=True)
class RopeSpec:
    """Rotary frequencies, all scaling folded into `inv_freq`.

    Pair i of a head is turned by `position * inv_freq[i]`; cos and sin are multiplied by `mscale`
    (YaRN's attention factor). `norm` pairs (2i, 2i+1); `neox` pairs (i, i + dim/2). Dimensions from
    `dim` on are left as they are.
    """

    style: Literal["norm", "neox"]
    dim: int
    inv_freq: tuple[float, ...]  # (dim / 2,)
    mscale: float = 1.0


@dataclass(frozen=True, slots=True)
class Rope(Op):
    """Turns every head of x, (n_rows, n_heads * head_dim), by the row's position."""

    kind = "rope"

    out: str
    x: str
    head_dim: int
    spec: RopeSpec

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] % self.head_dim == 0, self.out
        return widths[self.x]

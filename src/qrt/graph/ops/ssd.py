"""Ssd: the scan of Mamba-2 (Dao and Gu 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, Part, WeightUse, Work
from qrt.graph.state import Recurrent

LANES = 16
"""The channels of a head take up a multiple of so many in the state."""


@dataclass(frozen=True, slots=True)
class Ssd(Op):
    """Of each head, with step = softplus(dt + dt_bias), h (head_dim, n_state) and

    h[t] = exp(step * a) * h[t - 1] + step * x[t] b[t].T, y[t] = h[t] @ c[t] + d * x[t],

    the rows y, times silu(gate) if there is one. x and gate are n_heads * head_dim columns, dt
    n_heads, b and c n_groups * n_state: heads in a row share a group. a, d, dt_bias (n_heads,).
    """

    kind = "ssd"
    share = "heads"

    out: str
    x: Part
    b: Part
    c: Part
    dt: Part
    gate: Part | None
    a: str
    d: str
    dt_bias: str | None
    layer: int
    n_heads: int
    head_dim: int
    n_groups: int
    n_state: int

    @property
    def dim(self) -> int:
        """Channels of all heads."""
        return self.n_heads * self.head_dim

    @property
    def reads(self) -> tuple[str, ...]:
        parts = (self.x, self.b, self.c, self.dt, self.gate)
        return tuple(dict.fromkeys(part.value for part in parts if part is not None))

    def width(self, widths: Mapping[str, int]) -> int:
        assert self.n_heads % self.n_groups == 0, self.out
        n_columns = self.n_groups * self.n_state
        columns = [(self.x, self.dim), (self.dt, self.n_heads)]
        columns += [(self.b, n_columns), (self.c, n_columns), (self.gate or self.x, self.dim)]
        for part, n in columns:
            assert part.start + n <= widths[part.value], self.out
        return self.dim

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        names = (self.a, self.d, self.dt_bias)
        return tuple(WeightUse(name, (self.n_heads,)) for name in names if name is not None)

    @property
    def remembers(self) -> Recurrent:
        lanes = -(-self.head_dim // LANES) * LANES
        return Recurrent((self.layer,), 4 * self.n_heads * lanes * self.n_state, "ssm")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(5 * n_rows * self.dim * self.n_state)

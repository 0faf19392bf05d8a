"""SelectiveScan: the scan of Mamba (Gu and Dao 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, Part, WeightUse, Work
from qrt.graph.ops.ssd import LANES
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class SelectiveScan(Op):
    """Of each channel, with step = softplus(dt), h (n_state,) and

    h[t] = exp(step * a) * h[t - 1] + step * x[t] * b[t], y[t] = h[t] @ c[t] + d * x[t],

    the rows y, times silu(gate). x, dt and gate are `dim` columns, b and c n_state; a (dim,
    n_state), d (dim,).
    """

    kind = "selective_scan"
    share = "heads"

    out: str
    x: Part
    b: Part
    c: Part
    dt: Part
    gate: Part
    a: str
    d: str
    layer: int
    dim: int
    n_state: int

    @property
    def reads(self) -> tuple[str, ...]:
        parts = (self.x, self.b, self.c, self.dt, self.gate)
        return tuple(dict.fromkeys(part.value for part in parts))

    def width(self, widths: Mapping[str, int]) -> int:
        columns = [(part, self.dim) for part in (self.x, self.dt, self.gate)]
        columns += [(part, self.n_state) for part in (self.b, self.c)]
        for part, n in columns:
            assert part.start + n <= widths[part.value], self.out
        return self.dim

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return WeightUse(self.a, (self.dim, self.n_state), "lanes"), WeightUse(self.d, (self.dim,))

    @property
    def remembers(self) -> Recurrent:
        lanes = -(-self.dim // LANES) * LANES
        return Recurrent((self.layer,), 4 * lanes * self.n_state, "ssm")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(6 * n_rows * self.dim * self.n_state)

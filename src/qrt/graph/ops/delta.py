"""Delta: linear attention whose memory is corrected row by row, the gated delta rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, Part, WeightUse, Work
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class Delta(Op):
    """Each head's memory S (k_dim, v_dim) fades, is corrected, then read (Yang et al. 2024):

        S = g * S;  S = S + k * beta * (v - k @ S);  out = q @ S

    beta = sigmoid(`beta`), g = exp(rate * softplus(`decay` + bias)): of each head, or of each of
    its channels of k (Kimi delta attention, Kimi Team 2025). q and k are divided by the root of
    their sum of squares plus eps, q by that of k_dim as well. Both are n_k_heads * k_dim columns, v
    n_heads * v_dim; head h has the q and k of number h // (n_heads / n_k_heads) if they are
    `grouped`, else h % n_k_heads.
    """

    kind = "delta"
    share = "heads"

    out: str
    q: Part
    k: Part
    v: Part
    beta: str
    decay: str
    bias: str
    """Tensor, as wide as `decay`."""
    rate: str
    """Tensor (n_heads,)."""
    layer: int
    n_heads: int
    n_k_heads: int
    k_dim: int
    v_dim: int
    eps: float
    grouped: bool = False

    @property
    def parts(self) -> tuple[tuple[Part, int], ...]:
        """q, k and v, and how many columns each has."""
        n = self.n_k_heads * self.k_dim
        return (self.q, n), (self.k, n), (self.v, self.n_heads * self.v_dim)

    @property
    def reads(self) -> tuple[str, ...]:
        values = (part.value for part, _ in self.parts)
        return tuple(dict.fromkeys((*values, self.beta, self.decay)))

    def width(self, widths: Mapping[str, int]) -> int:
        assert self.n_heads % self.n_k_heads == 0, self.out
        assert all(part.start + n <= widths[part.value] for part, n in self.parts), self.out
        assert widths[self.beta] == self.n_heads, self.out
        assert widths[self.decay] in (self.n_heads, self.n_heads * self.k_dim), self.out
        return self.n_heads * self.v_dim

    def by_channel(self, widths: Mapping[str, int]) -> bool:
        """Whether each channel of k fades at a pace of its own."""
        return widths[self.decay] != self.n_heads

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return WeightUse(self.bias, (widths[self.decay],)), WeightUse(self.rate, (self.n_heads,))

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * self.n_heads * self.k_dim * self.v_dim, "delta")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(7 * n_rows * self.n_heads * self.k_dim * self.v_dim)

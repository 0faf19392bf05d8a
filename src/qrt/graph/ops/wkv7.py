"""Wkv7: RWKV-7's state, which forgets what a key stood for (Peng et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, Work
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class Wkv7(Op):
    """S becomes diag(decay) S - (rate * u) (S^T u)^T + k v^T, then out = S^T r, for each head.

    S is (keys, values) of a head, `head_dim` of both; u is `removed` brought to length 1.
    """

    kind = "wkv7"
    share = "heads"

    out: str
    r: str
    k: str
    v: str
    decay: str
    removed: str
    rate: str
    layer: int
    n_heads: int
    head_dim: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.r, self.k, self.v, self.decay, self.removed, self.rate

    def width(self, widths: Mapping[str, int]) -> int:
        width = self.n_heads * self.head_dim
        assert all(widths[value] == width for value in self.reads), self.out
        return width

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * self.n_heads * self.head_dim**2, "wkv")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(9 * n_rows * self.n_heads * self.head_dim**2)

"""Wkv6: RWKV-6's weighted sums of keys and values (Peng et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.state import Recurrent


@dataclass(frozen=True, slots=True)
class Wkv6(Op):
    """out = (S + diag(first) k v^T)^T r, then S becomes diag(decay) S + k v^T, for each head.

    S is (keys, values) of a head, `head_dim` of both, `first` the weight (n_heads, head_dim).
    Without it (gated linear attention, Yang et al. 2023) k counts 1 - decay times, S is changed
    first, and out = S^T r * head_dim**-0.5. A head of k and v serves n_heads / n_kv_heads of r.
    """

    kind = "wkv6"
    share = "heads"

    out: str
    r: str
    k: str
    v: str
    decay: str
    first: str | None
    layer: int
    n_heads: int
    n_kv_heads: int
    head_dim: int

    @property
    def reads(self) -> tuple[str, ...]:
        return self.r, self.k, self.v, self.decay

    def width(self, widths: Mapping[str, int]) -> int:
        width, kv_width = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        assert self.n_heads % self.n_kv_heads == 0, self.out
        assert widths[self.r] == widths[self.decay] == width, self.out
        assert widths[self.k] == widths[self.v] == kv_width, self.out
        return width

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_heads, self.head_dim)
        return () if self.first is None else (WeightUse(self.first, shape),)

    @property
    def remembers(self) -> Recurrent:
        return Recurrent((self.layer,), 4 * self.n_heads * self.head_dim**2, "wkv")

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return self.state_writes

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(7 * n_rows * self.n_heads * self.head_dim**2)

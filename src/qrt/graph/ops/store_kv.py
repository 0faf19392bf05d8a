"""StoreKV: keys and values of the step's rows go into the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op
from qrt.graph.state import KV


@dataclass(frozen=True, slots=True)
class StoreKV(Op):
    """Writes k (n_rows, n_kv_heads * k_width) and v (n_rows, n_kv_heads * v_width) at each row's
    position in `layer`'s cache. Without v, V is the first `v_width` values of each row of K.
    """

    kind = "store_kv"

    k: str
    v: str | None
    layer: int
    n_kv_heads: int
    k_width: int
    v_width: int
    window: int | None = None
    """How far back attention to this layer sees."""

    @property
    def out(self) -> None:  # type: ignore[override]
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.k,) if self.v is None else (self.k, self.v)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.k] == self.n_kv_heads * self.k_width, self.k
        if self.v is None:
            assert self.v_width <= self.k_width, self.k
        else:
            assert widths[self.v] == self.n_kv_heads * self.v_width, self.v
        return 0

    @property
    def remembers(self) -> KV:
        return KV(
            (self.layer,), self.k_width, self.v_width, self.n_kv_heads, self.window, self.v is None
        )

    @property
    def label(self) -> str:
        return f"blk.{self.layer}.attn_kv"

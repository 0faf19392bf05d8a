"""HeadLinear: a matrix of its own for each head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qrt.graph.op import Op, WeightUse, Work


@dataclass(frozen=True, slots=True)
class HeadLinear(Op):
    """out[h] = x[h] @ weight[h].T; weight (n_heads, n_out, width of x / n_heads)

    What MLA (DeepSeek-AI 2024) absorbs into queries and outputs.
    """

    kind = "head_linear"
    share = "panels"

    out: str
    x: str
    weight: str
    n_heads: int
    n_out: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.x] % self.n_heads == 0, self.out
        return self.n_heads * self.n_out

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        shape = (self.n_heads, self.n_out, widths[self.x] // self.n_heads)
        return (WeightUse(self.weight, shape, "matmul", self.x),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        return Work(2 * n_rows * widths[self.x] * self.n_out)

    @property
    def label(self) -> str:
        return self.weight

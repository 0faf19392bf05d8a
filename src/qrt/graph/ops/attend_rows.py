"""AttendRows: each row attends to all rows of its segment, without a cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.ops.attention import alibi_slopes, buckets


@dataclass(frozen=True, slots=True)
class AttendRows(Op):
    """softmax(q . k * scale + bias) . v over the rows of a segment, those that follow among them.

    q is (n_rows, n_heads * k_width), k (n_rows, n_kv_heads * k_width), v (n_rows, n_kv_heads *
    v_width), the result (n_rows, n_heads * v_width); query head h reads kv head h // (n_heads /
    n_kv_heads). With `softcap` c a score is c * tanh(score / c) before the bias; with `reach` r a
    row sees r rows to either side.

    The bias goes by distance. With `max_bias` it is -slope * |distance| (ALiBi, Press et al. 2022),
    see `alibi_slopes`; `rel_bias` (n_buckets, n_heads) is a learned one (Raffel et al. 2020), half
    of the buckets for rows that follow, see `buckets`.
    """

    kind = "attend_rows"
    share = "heads"
    sees_ahead = True

    out: str
    q: str
    k: str
    v: str
    layer: int
    n_heads: int
    n_kv_heads: int
    k_width: int
    v_width: int
    scale: float
    reach: int | None = None
    softcap: float | None = None
    max_bias: float = 0.0
    rel_bias: str | None = None
    n_buckets: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return self.q, self.k, self.v

    def width(self, widths: Mapping[str, int]) -> int:
        assert self.n_heads % self.n_kv_heads == 0, self.out
        assert widths[self.q] == self.n_heads * self.k_width, self.out
        assert widths[self.k] == self.n_kv_heads * self.k_width, self.out
        assert widths[self.v] == self.n_kv_heads * self.v_width, self.out
        return self.n_heads * self.v_width

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        if self.rel_bias is None:
            return ()
        return (WeightUse(self.rel_bias, (self.n_buckets, self.n_heads)),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        seen = n_rows if self.reach is None else min(n_rows, 2 * self.reach + 1)
        return Work(2 * n_rows * seen * self.n_heads * (self.k_width + self.v_width))

    def bias(self, span: int, learned: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """What is added to the scores of rows at distances -span .. span, (n_heads, 2 * span + 1),
        or (1, 2 * span + 1) where all heads have the same; -inf for what is not seen. `learned` are
        the values of `rel_bias`.
        """
        distance = np.arange(-span, span + 1)
        found = -alibi_slopes(self.n_heads, self.max_bias)[:, None] * np.abs(distance)
        if learned is not None:
            side = self.n_buckets // 2
            bucket = buckets(np.abs(distance), side) + np.where(distance > 0, side, 0)
            found = found + learned[bucket].T
        elif self.max_bias == 0.0:
            found = found[:1]
        if self.reach is not None:
            found = np.where(np.abs(distance) > self.reach, -np.inf, found)
        return found

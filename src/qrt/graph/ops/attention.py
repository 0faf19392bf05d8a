"""Attention: each row attends causally to the cache of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.state import KV

Sees = Literal["all", "encoded", "decoded"]
"""Positions up to its own that a row sees: all, those of the text that an encoder has read, or
those behind it."""


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """softmax(q . k * scale) . v over what `layer`'s cache holds up to each row's position.

    With `softcap` c a score is c * tanh(score / c); with `window` w position p sees positions
    p - w + 1 .. p. q is (n_rows, n_heads * k_width), the result (n_rows, n_heads * v_width); query
    head h reads kv head h // (n_heads / n_kv_heads).

    `chunked` windows begin anew at each multiple of w (Llama 4). `sinks` (n_heads,) are scores of a
    position without a value, one for each head (gpt-oss). With `max_bias` m a score loses slope *
    distance (ALiBi, Press et al. 2022), see `alibi_slopes`. With `rel_bias` (n_buckets, n_heads) it
    gains a learned bias by distance (Raffel et al. 2020), see `buckets`.
    """

    kind = "attention"
    share = "heads"
    scratch = "partials"

    out: str
    q: str
    layer: int
    n_heads: int
    n_kv_heads: int
    k_width: int
    v_width: int
    scale: float
    window: int | None = None
    softcap: float | None = None
    chunked: bool = False
    sinks: str | None = None
    max_bias: float = 0.0
    v_in_k: bool = False
    """Whether V is the first `v_width` values of each row of K; the cache knows as much."""
    rel_bias: str | None = None
    n_buckets: int = 0
    sees: Sees = "all"

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.q,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.q] == self.n_heads * self.k_width, self.out
        assert self.n_heads % self.n_kv_heads == 0, self.out
        return self.n_heads * self.v_width

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        uses = [] if self.sinks is None else [WeightUse(self.sinks, (self.n_heads,))]
        if self.rel_bias is not None:
            uses.append(WeightUse(self.rel_bias, (self.n_buckets, self.n_heads)))
        return tuple(uses)

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return ((KV.kind, self.layer),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        window = self.window or start + n_rows
        n_pairs = sum(min(start + row + 1, window) for row in range(n_rows))
        flops = 2 * n_pairs * self.n_heads * (self.k_width + self.v_width)
        return Work(flops, positions=min(start + n_rows, window - 1 + n_rows))

    def bias(
        self, distance: NDArray[np.int64], learned: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """What scores gain at distances (n,) of 0 and more, (n_heads, n); `learned` are the values
        of `rel_bias`."""
        return np.ascontiguousarray(learned[buckets(distance, self.n_buckets)].T)


MOST_DISTANCE = 128
"""Distances from here on have one learned bias."""


def buckets(distance: NDArray[np.int64], n_buckets: int) -> NDArray[np.int64]:
    """T5's bucket of each distance to one side: half of them are of one distance each, the others
    grow by a constant factor up to MOST_DISTANCE.
    """
    exact = n_buckets // 2
    ratio = np.log(np.maximum(distance, exact) / exact) / np.log(MOST_DISTANCE / exact)
    grown = np.minimum(exact + (ratio * (n_buckets - exact)).astype(np.int64), n_buckets - 1)
    return np.where(distance < exact, distance, grown)


def alibi_slopes(n_heads: int, max_bias: float) -> NDArray[np.float64]:
    """What each head's scores lose for a position of distance, (n_heads,); zeros for max_bias 0."""
    if max_bias == 0.0:
        return np.zeros(n_heads)
    n = 1 << (n_heads.bit_length() - 1)
    head = np.arange(n_heads)
    exponent = np.where(head < n, (head + 1) / n, (2 * (head - n) + 1) / (2 * n))
    slopes: NDArray[np.float64] = 2.0 ** (-max_bias * exponent)
    return slopes

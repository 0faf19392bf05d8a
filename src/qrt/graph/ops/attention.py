"""Attention: each row attends causally to the cache of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.graph.op import Op, WeightUse, Work
from qrt.graph.state import KV


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """softmax(q . k * scale) . v over what `layer`'s cache holds up to each row's position.

    With `softcap` c a score is c * tanh(score / c); with `window` w position p sees positions
    p - w + 1 .. p. q is (n_rows, n_heads * k_width), the result (n_rows, n_heads * v_width); query
    head h reads kv head h // (n_heads / n_kv_heads).

    `chunked` windows begin anew at each multiple of w (Llama 4). `sinks` (n_heads,) are scores of a
    position without a value, one for each head (gpt-oss). With `max_bias` m a score loses slope *
    distance (ALiBi, Press et al. 2022), see `alibi_slopes`.
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

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.q,)

    def width(self, widths: Mapping[str, int]) -> int:
        assert widths[self.q] == self.n_heads * self.k_width, self.out
        assert self.n_heads % self.n_kv_heads == 0, self.out
        return self.n_heads * self.v_width

    def weights(self, widths: Mapping[str, int]) -> tuple[WeightUse, ...]:
        return () if self.sinks is None else (WeightUse(self.sinks, (self.n_heads,)),)

    @property
    def state_reads(self) -> tuple[tuple[str, int], ...]:
        return ((KV.kind, self.layer),)

    def work(self, widths: Mapping[str, int], n_rows: int, start: int) -> Work:
        window = self.window or start + n_rows
        n_pairs = sum(min(start + row + 1, window) for row in range(n_rows))
        flops = 2 * n_pairs * self.n_heads * (self.k_width + self.v_width)
        return Work(flops, positions=min(start + n_rows, window - 1 + n_rows))


def alibi_slopes(n_heads: int, max_bias: float) -> NDArray[np.float64]:
    """What each head's scores lose for a position of distance, (n_heads,); zeros for max_bias 0."""
    if max_bias == 0.0:
        return np.zeros(n_heads)
    n = 1 << (n_heads.bit_length() - 1)
    head = np.arange(n_heads)
    exponent = np.where(head < n, (head + 1) / n, (2 * (head - n) + 1) / (2 * n))
    slopes: NDArray[np.float64] = 2.0 ** (-max_bias * exponent)
    return slopes

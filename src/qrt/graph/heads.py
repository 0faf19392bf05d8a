"""What becomes of hidden states: pooling, and the layers behind the pooled row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["none", "mean", "cls", "last", "rank"]
"""What is made of a text's hidden states (n_rows, dim): nothing, their mean, the first, the last,
or a score, see `Ranking`."""


@dataclass(frozen=True, slots=True)
class Head:
    """A layer that a pooled row x goes through: norm(act(x @ weight.T + bias)).

    weight (n_out, n_in), bias (n_out,) and norm (n_out,), of a LayerNorm with `eps`, are names of
    tensors in the file. gelu_erf is x times the standard normal distribution function.
    """

    weight: str
    n_in: int
    n_out: int
    bias: str | None = None
    act: Literal["tanh", "gelu_erf", "softmax"] | None = None
    norm: str | None = None
    eps: float = 0.0

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The tensors that it reads, and the shapes that they must have."""
        found: dict[str, tuple[int, ...]] = {self.weight: (self.n_out, self.n_in)}
        return found | {name: (self.n_out,) for name in (self.bias, self.norm) if name is not None}


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well two texts fit: the first number that `heads` make of the row pooled as said.

    `labels` name the numbers, where the file does.
    """

    pooling: Literal["mean", "cls", "last"]
    heads: tuple[Head, ...]
    labels: tuple[str, ...] = ()

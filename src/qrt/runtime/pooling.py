"""Pooling: which of a text's hidden states its vector is made of, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError, NonFiniteError
from qrt.runtime.checks import shown

Vectors = NDArray[np.float32]

POOLINGS: Final[Mapping[str, str]] = {
    "mean": "the mean of all tokens",
    "cls": "the first token",
    "last": "the last token",
    "none": "a vector for each token",
}
"""What a caller may ask for. "rank" is a model's own: its head judges a text."""


class Pooled:
    """The hidden states of one text as they come, some rows at a time."""

    __slots__ = ("_kind", "_n_rows", "_parts", "_total")

    def __init__(self, kind: str, n_rows: int) -> None:
        """kind: one of POOLINGS; n_rows: tokens of the text."""
        self._kind = kind
        self._n_rows = n_rows
        self._parts: list[Vectors] = []
        self._total: NDArray[np.float64] | None = None

    def wanted(self, start: int, n_rows: int) -> NDArray[np.int32]:
        """Which of the text's rows from `start` on are needed, counted from there; rising."""
        if self._kind in ("mean", "none"):
            return np.arange(n_rows, dtype=np.int32)
        row = 0 if self._kind == "cls" else self._n_rows - 1
        is_here = start <= row < start + n_rows
        return np.arange(row - start, row - start + is_here, dtype=np.int32)

    def take(self, rows: Vectors) -> None:
        """The rows that were wanted (n, dim), in order; the sum does not depend on their chunks."""
        if self._kind == "mean":
            before = np.zeros((1, rows.shape[1])) if self._total is None else self._total[None]
            self._total = np.add.reduce(np.concatenate([before, rows]), axis=0)
        elif len(rows):
            self._parts.append(rows.copy())

    def result(self) -> Vectors:
        """(dim,) float32, or (n_rows, dim) where nothing is pooled. Raises NonFiniteError."""
        if self._total is not None:
            found = (self._total / self._n_rows).astype(np.float32)
        else:
            rows = np.concatenate(self._parts)
            found = rows if self._kind == "none" else rows[0]
        if not np.isfinite(found).all():
            raise NonFiniteError(
                "the hidden states of a text are not finite; the weights of the model are damaged"
            )
        return found


def check_pooling(pooling: str) -> str:
    """One of POOLINGS. Raises InputError."""
    if not isinstance(pooling, str) or pooling not in POOLINGS:
        raise InputError(f"pooling must be one of {', '.join(POOLINGS)}, got {shown(pooling)}")
    return pooling


def shortened(vectors: Vectors, dim: int | None, *, normalize: bool) -> Vectors:
    """Vectors (..., width) cut to their first `dim` values, then of length 1 if `normalize`.

    A vector of zeros stays as it is.
    """
    vectors = vectors[..., :dim]
    if not normalize:
        return np.ascontiguousarray(vectors)
    exact = vectors.astype(np.float64)
    lengths = np.sqrt(np.square(exact).sum(axis=-1, keepdims=True))
    return (exact / np.where(lengths > 0, lengths, 1)).astype(np.float32)

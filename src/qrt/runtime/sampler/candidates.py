"""The tokens still in the running, and the two operations every step is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GROUP = 64


@dataclass(frozen=True, slots=True)
class Candidates:
    """Token ids and their logits. `ranked`: by falling logit, the lowest id first among equals;
    otherwise by rising id."""

    ids: NDArray[np.intp]  # (n,)
    logits: NDArray[np.float32]  # (n,)
    ranked: bool

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Candidates:
        """The chosen entries, in the same order."""
        return Candidates(self.ids[chosen], self.logits[chosen], self.ranked)


def largest(logits: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Indices of the k largest, by falling logit, the lowest index first among equals.

    The k-th largest of the maxima of n/64 groups is a floor that at least k logits reach and that
    no logit of the top k lies below, so only what reaches it is sorted.
    """
    n_groups = logits.size // _GROUP
    if k < n_groups:
        grouped = logits[: n_groups * _GROUP].reshape(_GROUP, n_groups)
        floor = np.partition(grouped.max(axis=0), n_groups - k)[n_groups - k]
        survivors = np.flatnonzero(logits >= floor)
    else:
        survivors = np.arange(logits.size)
    order = np.argsort(-logits[survivors], kind="stable")[:k]
    return survivors[order]


def rank(c: Candidates) -> Candidates:
    """All candidates, ranked."""
    if c.ranked:
        return c
    order = largest(c.logits, c.logits.size)
    return Candidates(c.ids[order], c.logits[order], ranked=True)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities, (n,), of logits (n,) that are not all -inf."""
    probs: NDArray[np.float64] = np.exp(logits - logits.max(), dtype=np.float64)
    probs /= probs.sum()
    return probs

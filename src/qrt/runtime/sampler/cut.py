"""The steps that drop candidates: top_n_sigma, top_k, typical_p, top_p, min_p and xtc."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.sampler.candidates import Candidates, largest, rank, softmax

_FIRST_GUESS = 256
_NEXT_GUESS = 8


def top_n_sigma(c: Candidates, n: float) -> Candidates:
    """Keeps logits within n standard deviations of the largest."""
    floor = c.logits.max() - n * c.logits.std(dtype=np.float64)
    return c.take(c.logits >= floor)


def top_k(c: Candidates, k: int) -> Candidates:
    """Keeps the k largest logits."""
    if c.ranked:
        return c.take(slice(k))
    order = largest(c.logits, k)
    return Candidates(c.ids[order], c.logits[order], ranked=True)


def typical(c: Candidates, p: float, min_keep: int) -> Candidates:
    """Keeps the tokens whose surprise is nearest the entropy, until they hold more than p."""
    c = rank(c)
    probs = softmax(c.logits)
    with np.errstate(divide="ignore"):
        surprise = -np.log(probs)
    entropy = np.sum(probs * surprise, where=probs > 0)
    order = np.argsort(np.abs(surprise - entropy), kind="stable")
    n_keep = max(_count_below(probs[order], p, side="right"), min_keep)
    return c.take(np.sort(order[:n_keep]))


def top_p(c: Candidates, p: float, min_keep: int) -> Candidates:
    """Keeps the fewest largest tokens that hold at least p."""
    peak = c.logits.max()
    total = np.exp(c.logits - peak, dtype=np.float64).sum()
    n = c.ids.size if c.ranked else max(_FIRST_GUESS, min_keep)
    while True:  # ranking all is slow, and the first few mostly hold enough
        top = top_k(c, n)
        probs = np.exp(top.logits - peak, dtype=np.float64) / total
        if n >= c.ids.size or probs.sum() >= p:
            return top.take(slice(max(_count_below(probs, p, side="left"), min_keep)))
        n *= _NEXT_GUESS


def min_p(c: Candidates, p: float, min_keep: int) -> Candidates:
    """Keeps tokens of at least p times the largest probability."""
    kept = c.logits >= c.logits.max() + math.log(p)
    if np.count_nonzero(kept) < min_keep:
        return top_k(c, min_keep)
    return c.take(kept)


def xtc(c: Candidates, threshold: float, min_keep: int) -> Candidates:
    """Drops the tokens of at least `threshold`, all but the least probable of them."""
    c = rank(c)
    n_above = int(np.count_nonzero(softmax(c.logits) >= threshold))
    if n_above < 2 or c.ids.size - (n_above - 1) < min_keep:
        return c
    return c.take(slice(n_above - 1, None))


def _count_below(probs: NDArray[np.float64], p: float, *, side: str) -> int:
    """How many entries until the running sum reaches p (side left) or exceeds it (right)."""
    sums = np.cumsum(probs)
    reached = sums >= p if side == "left" else sums > p
    first = int(np.argmax(reached)) if reached[-1] else probs.size - 1
    return first + 1

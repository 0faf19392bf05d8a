"""The last steps: temperature, the draw itself, and mirostat, which replaces the cutting steps."""

from __future__ import annotations

import math

import numpy as np

from qrt.runtime.sampler.candidates import Candidates, largest, softmax

_MIROSTAT_TOP = 100
_LN2 = math.log(2.0)
_COLDEST = 1e-30
"""A temperature below it divides as this one does: float32 would overflow."""


def heat(c: Candidates, temperature: float) -> Candidates:
    """Divides the logits by the temperature, which is above 0."""
    if temperature == 1.0:
        return c
    return Candidates(c.ids, c.logits / np.float32(max(temperature, _COLDEST)), c.ranked)


def dynamic_temperature(c: Candidates, temperature: float, spread: float, exponent: float) -> float:
    """The temperature between `temperature - spread` (at least 0) and `temperature + spread` that
    the entropy, as a share of the highest possible, asks for."""
    if c.ids.size < 2:
        return temperature
    probs = softmax(c.logits)
    probs = probs[probs > 0]
    share = float(-np.sum(probs * np.log(probs))) / math.log(c.ids.size)
    low = max(0.0, temperature - spread)
    high = temperature + spread
    return low + (high - low) * math.pow(min(max(share, 0.0), 1.0), exponent)


def draw(c: Candidates, u: float) -> int:
    """The index in `c` whose share of [0, 1), in order, holds u."""
    sums = np.cumsum(softmax(c.logits))
    index = int(np.searchsorted(sums, u * sums[-1], side="right"))
    return min(index, c.ids.size - 1)


class Mirostat:
    """Keeps the surprise of the drawn tokens near tau bits (Basu et al. 2020, arXiv 2007.14966).

    `mu` is the controller's state: it starts at 2 tau and moves with every draw.
    """

    def __init__(self, version: int, tau: float, eta: float, n_vocab: int) -> None:
        self.mu = 2.0 * tau
        self._version = version
        self._tau = tau
        self._eta = eta
        self._n_vocab = n_vocab

    def draw(self, c: Candidates, u: float) -> tuple[Candidates, int]:
        """Cuts `c` by mu, draws from what is left, moves mu; what was left, and the index in it."""
        kept = self._cut_by_fit(c) if self._version == 1 else self._cut_by_surprise(c)
        index = draw(kept, u)
        surprise = -math.log2(max(softmax(kept.logits)[index], np.finfo(np.float64).tiny))
        self.mu -= self._eta * (surprise - self._tau)
        return kept, index

    def _cut_by_fit(self, c: Candidates) -> Candidates:
        """Version 1: fits a Zipf exponent to the top and derives the k whose surprise is mu."""
        top = c.logits[largest(c.logits, _MIROSTAT_TOP)].astype(np.float64)
        if top.size < 2:
            return c
        i = np.arange(1, top.size)
        t = np.log((i + 1) / i)
        s = np.sum(t * (top[:-1] - top[1:])) / np.sum(t * t)
        epsilon = s - 1.0
        with np.errstate(all="ignore"):
            base = epsilon * np.exp2(self.mu) / (1.0 - np.float64(self._n_vocab) ** -epsilon)
            k = base ** (1.0 / s)
        n_keep = min(max(int(k), 1), c.ids.size) if np.isfinite(k) else c.ids.size
        order = largest(c.logits, n_keep)
        return Candidates(c.ids[order], c.logits[order], ranked=True)

    def _cut_by_surprise(self, c: Candidates) -> Candidates:
        """Version 2: drops tokens whose surprise exceeds mu, but never the first."""
        shifted = (c.logits - c.logits.max()).astype(np.float64)
        surprise = (math.log(float(np.exp(shifted).sum())) - shifted) / _LN2
        kept = c.take(surprise <= self.mu)
        order = largest(kept.logits, kept.ids.size) if kept.ids.size else largest(c.logits, 1)
        source = kept if kept.ids.size else c
        return Candidates(source.ids[order], source.logits[order], ranked=True)

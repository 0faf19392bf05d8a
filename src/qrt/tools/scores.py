"""The arithmetic of perplexity and KL divergence, in float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_softmax(logits: NDArray[np.float32]) -> Floats:
    """log p = x - max(x) - log(sum(exp(x - max(x)))) of one row of finite logits: (n_vocab,)."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def divergence(log_base: Floats, log_p: Floats) -> float:
    """sum(p_base * (log p_base - log p)) of one row of log-probabilities, in nats."""
    return float(np.dot(np.exp(log_base), log_base - log_p))


def mean_and_error(scores: Floats) -> tuple[float, float]:
    """The mean of at least two scores and its standard error, sqrt(variance / (n - 1)).

    The variance is the mean of the squared distances from the mean.
    """
    return float(scores.mean()), math.sqrt(scores.var() / (len(scores) - 1))


def perplexity_and_error(losses: Floats) -> tuple[float, float]:
    """exp of the mean of -log p, and its standard error: that of the mean times the perplexity."""
    mean, error = mean_and_error(losses)
    with np.errstate(over="ignore"):
        value = float(np.exp(mean))
    return value, error * value

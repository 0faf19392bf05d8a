"""Where training starts: vectors of tokens from how often they stand near each other."""

from __future__ import annotations

import numpy as np
import torch
from model import N_HIDDEN
from numpy.typing import NDArray

WINDOW, SHIFT, SMOOTHED = 6, 0.0, 0.75
TOO_COMMON = 2e-4


def near(rows: list[list[int]], weights: list[float], n_vocab: int) -> NDArray[np.float32]:
    """How often tokens stand within WINDOW of each other, nearer ones more: (n_vocab, n_vocab)."""
    ids = np.concatenate([np.array([*row, *[-1] * WINDOW]) for row in rows])
    weight = np.repeat(weights, [len(row) + WINDOW for row in rows])
    counts = np.zeros(n_vocab * n_vocab, np.float32)
    for distance in range(1, WINDOW + 1):
        a, b, w = ids[:-distance], ids[distance:], weight[distance:]
        real = (a >= 0) & (b >= 0)
        pairs = a[real] * n_vocab + b[real]
        found, inverse = np.unique(pairs, return_inverse=True)
        counts[found] += np.bincount(inverse, w[real]).astype(np.float32) / distance
    square = counts.reshape(n_vocab, n_vocab)
    return square + square.T


def vectors(counts: NDArray[np.float32], dim: int) -> torch.Tensor:
    """Unit vectors (n_vocab, dim): the leading factors of the positive mutual information."""
    total = counts.sum()
    share = counts.sum(1) / total
    context = share**SMOOTHED / (share**SMOOTHED).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(counts / total / share[:, None] / context[None])
    pmi = np.where(np.isfinite(pmi), np.maximum(pmi - SHIFT, 0), 0).astype(np.float32)
    u, s, _ = torch.svd_lowrank(torch.from_numpy(pmi), q=dim + 32, niter=3)
    found = (u * s.sqrt())[:, :dim]
    return torch.nn.functional.normalize(found + 1e-4 * torch.randn(found.shape), dim=-1)


def embedding(counts: NDArray[np.float32], dim: int) -> torch.Tensor:
    """Vectors (n_vocab, dim) whose first N_HIDDEN dimensions, of opposite signs, take the more the
    commoner a token is."""
    share = counts.sum(1) / counts.sum()
    weight = torch.from_numpy(TOO_COMMON / (TOO_COMMON + share)).float().sqrt()
    hidden = (1 - weight**2).clamp(min=0).sqrt()[:, None] * torch.tensor([1.0, -1.0])
    content = vectors(counts, dim - N_HIDDEN) * weight[:, None]
    return torch.cat((hidden / 2**0.5, content), dim=1)

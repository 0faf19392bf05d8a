"""The steps that change logits: a constraint's mask, logit bias, the repetition penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.sampler.params import SamplingParams


def forbid(logits: NDArray[np.float32], mask: NDArray[np.uint32]) -> None:
    """Takes out, in place, the tokens whose bit is not set: bit i % 32 of word i // 32."""
    bits = np.unpackbits(mask.astype("<u4", copy=False).view(np.uint8), bitorder="little")
    logits[bits[: logits.size] == 0] = -np.inf


def add_bias(logits: NDArray[np.float32], bias: Mapping[int, float]) -> None:
    """Adds each bias to its token's logit, in place."""
    for token, amount in bias.items():
        logits[token] += amount


def penalize(logits: NDArray[np.float32], params: SamplingParams, history: Sequence[int]) -> None:
    """Applies the repetition, presence and frequency penalties (Keskar et al. 2019), in place.

    A seen token's positive logit is divided by the repetition penalty, another multiplied by it;
    then `count * frequency_penalty + presence_penalty` is taken off.
    """
    window = last_n(history, params.repeat_last_n)
    if not window:
        return
    ids, counts = np.unique(np.asarray(window, dtype=np.intp), return_counts=True)
    seen = logits[ids]
    penalty = np.float32(params.repeat_penalty)
    seen = np.where(seen <= 0, seen * penalty, seen / penalty)
    seen -= counts.astype(np.float32) * np.float32(params.frequency_penalty)
    seen -= np.float32(params.presence_penalty)
    logits[ids] = seen


def last_n(history: Sequence[int], n: int) -> Sequence[int]:
    """The last n tokens of history; -1 stands for all."""
    return history if n == -1 else history[max(0, len(history) - n) :]

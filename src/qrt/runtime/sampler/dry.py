"""DRY, "don't repeat yourself": a penalty on the token that would prolong a repetition.

By p-e-w for text-generation-webui (pull request 5677), with the restart sequences that koboldcpp
(pull request 982) and llama.cpp use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.sampler.params import SamplingParams
from qrt.runtime.sampler.penalties import last_n

Breakers = Mapping[int, Sequence[tuple[int, ...]]]
"""Token id -> the token runs that complete a sequence breaker after it (empty: it is one)."""

_MAX_TAIL = 20
_MAX_LOG = math.log(np.finfo(np.float32).max)


def breaker_table(
    pieces: Iterable[str], tokenize: Callable[[str], Sequence[int]], breakers: Sequence[str]
) -> Breakers:
    """Finds every way in which a breaker can begin inside a token.

    pieces: the text of token 0, 1, ...; tokenize: text to ids without special tokens.
    """
    table: dict[int, list[tuple[int, ...]]] = {}
    for token, piece in enumerate(pieces):
        tails: dict[tuple[int, ...], None] = {}
        for breaker in breakers:
            if breaker in piece:
                tails[()] = None
                continue
            for n in range(1, min(len(breaker), len(piece) + 1)):
                if piece.endswith(breaker[:n]):
                    tails[tuple(tokenize(breaker[n:])[:_MAX_TAIL])] = None
        if tails:
            table[token] = list(tails)
    return table


def dry(
    logits: NDArray[np.float32],
    params: SamplingParams,
    history: Sequence[int],
    breakers: Breakers,
) -> None:
    """Takes `multiplier * base ** (length - allowed)` off each token that would prolong a repeat of
    `length` tokens, in place."""
    window = last_n(history, params.dry_penalty_last_n)
    allowed = params.dry_allowed_length
    if len(window) <= allowed:
        return
    recent = np.asarray(window, dtype=np.intp)[::-1]  # (n,) newest first
    limit = _repeat_limit(recent.tolist(), breakers)
    if limit < allowed:
        return
    largest_power = int(_MAX_LOG / math.log(params.dry_base)) if params.dry_base > 1.000001 else 0
    if largest_power:
        limit = min(limit, allowed + largest_power)
    for token, length in _repeats(recent, allowed, limit).items():
        if () in breakers.get(token, ()):
            continue
        logits[token] -= params.dry_multiplier * params.dry_base ** (length - allowed)


def _repeat_limit(recent: Sequence[int], breakers: Breakers) -> int:
    """How many of the newest tokens lie after the last sequence breaker."""
    for i, token in enumerate(recent):
        lengths = [
            len(tail)
            for tail in breakers.get(token, ())
            if len(tail) <= i and all(recent[i - 1 - j] == t for j, t in enumerate(tail))
        ]
        if lengths:
            return i - max(lengths)
    return len(recent)


def _repeats(recent: NDArray[np.intp], allowed: int, limit: int) -> dict[int, int]:
    """token -> length of the longest earlier run, equal to the newest tokens, that it followed."""
    longest: dict[int, int] = {}
    shifts = np.arange(1, recent.size)
    for length in range(1, limit + 1):
        shifts = shifts[shifts + length <= recent.size]
        shifts = shifts[recent[shifts + length - 1] == recent[length - 1]]
        if not shifts.size:
            break
        if length >= allowed:
            longest.update(dict.fromkeys(recent[shifts - 1].tolist(), length))
    return longest

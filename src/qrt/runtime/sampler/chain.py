"""The chain itself: which steps run, in which order, and the draw at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError, QrtError
from qrt.runtime.hooks import LogitsProcessor, processed
from qrt.runtime.rng import TOKEN_STREAM, XTC_STREAM, uniform
from qrt.runtime.sampler.candidates import Candidates, largest
from qrt.runtime.sampler.draw import Mirostat, draw, heat
from qrt.runtime.sampler.dry import Breakers, dry
from qrt.runtime.sampler.params import SamplingParams
from qrt.runtime.sampler.penalties import add_bias, forbid, penalize
from qrt.runtime.sampler.steps import CUTS, PENALTIES, active_steps, is_greedy

_NO_BREAKERS: Final[Breakers] = MappingProxyType({})


class Sampler:
    """Turns logits into tokens for one request, with llama.cpp's chain.

    The same params, seed, positions, history and logits give the same tokens. Only mirostat keeps
    state from token to token, so a sampler serves one request.
    """

    def __init__(
        self,
        params: SamplingParams,
        n_vocab: int,
        seed: int,
        breakers: Breakers = _NO_BREAKERS,
        banned: Sequence[int] = (),
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        """`banned` tokens are never chosen; `breakers` is what `breaker_table` made for DRY;
        `processors` change the logits before all else does.

        Raises InputError for a token id of `logit_bias` outside the vocabulary.
        """
        for token in params.logit_bias:
            if token >= n_vocab:
                raise InputError(
                    f"logit_bias names token {token}; the model's ids run from 0 to {n_vocab - 1}"
                )
        self._params = params
        self._seed = seed
        self._breakers = breakers
        self._processors = processors
        self._bias: Mapping[int, float] = {
            **params.logit_bias,
            **dict.fromkeys(banned, -math.inf),
        }
        steps = active_steps(params)
        n_first = next((i for i, name in enumerate(steps) if name not in PENALTIES), len(steps))
        self._first, self._rest = steps[:n_first], steps[n_first:]
        self._is_greedy = is_greedy(params) and not set(self._rest) & PENALTIES
        self._ids = np.arange(n_vocab, dtype=np.intp)
        self._scratch = np.empty(n_vocab, dtype=np.float32)
        self._mirostat = (
            Mirostat(params.mirostat, params.mirostat_tau, params.mirostat_eta, n_vocab)
            if params.mirostat
            else None
        )

    def sample(
        self,
        logits: NDArray[np.float32],
        position: int,
        history: Sequence[int],
        mask: NDArray[np.uint32] | None = None,
    ) -> tuple[int, float]:
        """The token for `position`, and its log probability under the model's own logits.

        logits: (n_vocab,) float32, left as they are; history: prompt and answer so far; mask: the
        tokens that a constraint allows, as bits. Raises QrtError if a logit is not finite or no
        token is allowed.
        """
        norm = self._log_sum_exp(logits)
        token = self._choose(self._changed(logits, history, mask), position, history)
        return token, float(logits[token]) - norm

    def likeliest(self, logits: NDArray[np.float32], n: int) -> tuple[tuple[int, float], ...]:
        """The n likeliest tokens under the model's own logits, with their log probabilities."""
        norm = self._log_sum_exp(logits)
        return tuple((token, float(logits[token]) - norm) for token in largest(logits, n).tolist())

    def _log_sum_exp(self, logits: NDArray[np.float32]) -> float:
        largest = logits.max()
        if not (np.isfinite(largest) and np.isfinite(logits.min())):
            bad = int(np.flatnonzero(~np.isfinite(logits))[0])
            raise QrtError(
                f"the model produced a logit that is not finite ({logits[bad]} for token {bad}); "
                "the weights in the file are damaged or out of range"
            )
        np.subtract(logits, largest, out=self._scratch)
        np.exp(self._scratch, out=self._scratch)
        return float(largest) + math.log(float(self._scratch.sum()))

    def _changed(
        self,
        logits: NDArray[np.float32],
        history: Sequence[int],
        mask: NDArray[np.uint32] | None,
    ) -> NDArray[np.float32]:
        """The logits after processors, constraint, logit bias and the penalties that precede
        other steps."""
        if self._processors:
            changed = processed(self._processors, history, logits)
        elif self._bias or self._first or mask is not None:
            changed = logits.copy()
        else:
            return logits
        if mask is not None:
            forbid(changed, mask)
        add_bias(changed, self._bias)
        for name in self._first:
            self._penalize(name, changed, history)
        if changed.max() == -math.inf:
            raise QrtError(
                "no token may be chosen: logit_bias, a processor or the grammar forbids every one"
            )
        return changed

    def _penalize(self, name: str, logits: NDArray[np.float32], history: Sequence[int]) -> None:
        if name == "penalties":
            penalize(logits, self._params, history)
        else:
            dry(logits, self._params, history, self._breakers)

    def _choose(self, logits: NDArray[np.float32], position: int, history: Sequence[int]) -> int:
        p = self._params
        if self._is_greedy:
            return int(logits.argmax())
        c = Candidates(self._ids, logits, ranked=False)
        if self._mirostat is not None:
            c = heat(_possible(c), p.temperature)
            return self._mirostat.draw(c, uniform(self._seed, position, TOKEN_STREAM))
        is_possible = False
        for name in self._rest:
            if name != "top_k" and not is_possible:
                c, is_possible = _possible(c), True
            if name in PENALTIES:
                c = self._penalized(name, c, history)
            elif name != "xtc" or uniform(self._seed, position, XTC_STREAM) < p.xtc_probability:
                c = CUTS[name](c, p)
        c = c if is_possible else _possible(c)
        return int(c.ids[draw(c, uniform(self._seed, position, TOKEN_STREAM))])

    def _penalized(self, name: str, c: Candidates, history: Sequence[int]) -> Candidates:
        """Penalties after a step that dropped candidates."""
        logits = np.full(self._ids.size, -math.inf, np.float32)
        logits[c.ids] = c.logits
        self._penalize(name, logits, history)
        ids = np.sort(c.ids)
        return Candidates(ids, logits[ids], ranked=False)


def _possible(c: Candidates) -> Candidates:
    """The candidates that are not forbidden."""
    allowed = c.logits > -math.inf
    return c if allowed.all() else c.take(allowed)

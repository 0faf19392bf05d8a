"""The chain itself: which steps run, in which order, and the draw at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError, QrtError
from qrt.runtime.rng import TOKEN_STREAM, XTC_STREAM, uniform
from qrt.runtime.sampler import cut
from qrt.runtime.sampler.candidates import Candidates
from qrt.runtime.sampler.draw import Mirostat, draw, dynamic_temperature, heat
from qrt.runtime.sampler.dry import Breakers, dry
from qrt.runtime.sampler.params import SamplingParams
from qrt.runtime.sampler.penalties import add_bias, penalize

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
    ) -> None:
        """`banned` tokens are never chosen; `breakers` is what `breaker_table` made for DRY.

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
        self._bias: Mapping[int, float] = {
            **params.logit_bias,
            **dict.fromkeys(banned, -math.inf),
        }
        self._ids = np.arange(n_vocab, dtype=np.intp)
        self._scratch = np.empty(n_vocab, dtype=np.float32)
        self._mirostat = (
            Mirostat(params.mirostat, params.mirostat_tau, params.mirostat_eta, n_vocab)
            if params.mirostat
            else None
        )

    def sample(
        self, logits: NDArray[np.float32], position: int, history: Sequence[int]
    ) -> tuple[int, float]:
        """The token for `position`, and its log probability under the model's own logits.

        logits: (n_vocab,) float32, left as they are; history: prompt and answer so far. Raises
        QrtError if a logit is not finite or no token is allowed.
        """
        norm = self._log_sum_exp(logits)
        token = self._choose(self._changed(logits, history), position)
        return token, float(logits[token]) - norm

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

    def _changed(self, logits: NDArray[np.float32], history: Sequence[int]) -> NDArray[np.float32]:
        """The logits after logit bias and penalties."""
        p = self._params
        plain = p.repeat_penalty == 1 and p.presence_penalty == 0 and p.frequency_penalty == 0
        penalties_off = plain or p.repeat_last_n == 0
        dry_off = p.dry_multiplier == 0 or p.dry_penalty_last_n == 0
        if p.mirostat:
            penalties_off = dry_off = True
        if not self._bias and penalties_off and dry_off:
            return logits
        changed = logits.copy()
        add_bias(changed, self._bias)
        if not penalties_off:
            penalize(changed, p, history)
        if not dry_off:
            dry(changed, p, history, self._breakers)
        if changed.max() == -math.inf:
            raise QrtError("no token may be chosen: logit_bias forbids every one")
        return changed

    def _choose(self, logits: NDArray[np.float32], position: int) -> int:
        p = self._params
        if p.temperature <= 0 and (p.dynatemp_range == 0 or p.mirostat):
            return int(logits.argmax())
        c = Candidates(self._ids, logits, ranked=False)
        if self._mirostat is not None:
            c = heat(_possible(c), p.temperature)
            return self._mirostat.draw(c, uniform(self._seed, position, TOKEN_STREAM))
        c = self._cut(c, position)
        temperature = p.temperature
        if p.dynatemp_range > 0:
            temperature = dynamic_temperature(c, temperature, p.dynatemp_range, p.dynatemp_exponent)
        if temperature <= 0:
            return int(c.ids[c.logits.argmax()])
        c = heat(c, temperature)
        return int(c.ids[draw(c, uniform(self._seed, position, TOKEN_STREAM))])

    def _cut(self, c: Candidates, position: int) -> Candidates:
        p = self._params
        if p.top_n_sigma > 0:
            c = cut.top_n_sigma(_possible(c), p.top_n_sigma)
        if p.top_k > 0:
            c = cut.top_k(c, p.top_k)
        c = _possible(c)
        if p.typical_p < 1:
            c = cut.typical(c, p.typical_p, p.min_keep)
        if p.top_p < 1:
            c = cut.top_p(c, p.top_p, p.min_keep)
        if p.min_p > 0:
            c = cut.min_p(c, p.min_p, p.min_keep)
        if (
            p.xtc_threshold <= 0.5
            and p.xtc_probability > 0
            and uniform(self._seed, position, XTC_STREAM) < p.xtc_probability
        ):
            c = cut.xtc(c, p.xtc_threshold, p.min_keep)
        return c


def _possible(c: Candidates) -> Candidates:
    """The candidates that are not forbidden."""
    allowed = c.logits > -math.inf
    return c if allowed.all() else c.take(allowed)

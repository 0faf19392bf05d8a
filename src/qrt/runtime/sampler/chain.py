"""The chain itself: which steps run, in which order, and the draw at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Survey, norm
from qrt.errors import InputError
from qrt.runtime.hooks import LogitsProcessor, processed
from qrt.runtime.rng import TOKEN_STREAM, XTC_STREAM, uniform
from qrt.runtime.sampler.candidates import Candidates
from qrt.runtime.sampler.draw import Mirostat, draw, heat
from qrt.runtime.sampler.dry import Breakers, dry
from qrt.runtime.sampler.params import SamplingParams
from qrt.runtime.sampler.penalties import add_bias, forbid, last_n, penalize
from qrt.runtime.sampler.row import Row
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
        self._n_vocab = n_vocab
        self._mirostat = (
            Mirostat(params.mirostat, params.mirostat_tau, params.mirostat_eta, n_vocab)
            if params.mirostat
            else None
        )

    @property
    def n_wanted(self) -> int:
        """How many of the largest logits a list must have that a token can be drawn from; 0 if none
        can: where top_k, or temperature 0, is not the first step that drops tokens.
        """
        if self._is_greedy:
            return 1
        lists = self._mirostat is None and self._rest[:1] == ("top_k",)
        return self._params.top_k if lists else 0

    @property
    def processes(self) -> bool:
        """Whether functions of a caller's change the logits."""
        return bool(self._processors)

    @property
    def changes(self) -> bool:
        """Whether something precedes the first step that drops tokens."""
        return bool(self._processors or self._bias or self._first)

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
        row = Row(logits, Survey(norm(logits)))
        row.check()
        row.changed = self.changed(logits, history, mask)
        token = self.draw(row, position, history)
        return token, row.logprob(token)

    def changed(
        self,
        logits: NDArray[np.float32],
        history: Sequence[int],
        mask: NDArray[np.uint32] | None = None,
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
        self.change(changed, history)
        return changed

    def change(self, logits: NDArray[np.float32], history: Sequence[int]) -> None:
        """Logit bias and the penalties that precede other steps, in place."""
        add_bias(logits, self._bias)
        for name in self._first:
            self._penalize(name, logits, history)

    def touched(self, history: Sequence[int]) -> NDArray[np.intp]:
        """The tokens whose logits `change` may change."""
        p = self._params
        windows = {"penalties": p.repeat_last_n, "dry": p.dry_penalty_last_n}
        seen = {token for name in self._first for token in last_n(history, windows[name])}
        return np.fromiter(seen | self._bias.keys(), np.intp)

    def _penalize(self, name: str, logits: NDArray[np.float32], history: Sequence[int]) -> None:
        if name == "penalties":
            penalize(logits, self._params, history)
        else:
            dry(logits, self._params, history, self._breakers)

    def draw(self, row: Row, position: int, history: Sequence[int]) -> int:
        """The token for `position` from a row whose logits were changed.

        From a list it is the one that all logits give: the list has all that may be among the
        `n_wanted` largest, in the same order, and whatever comes first here keeps no other. What is
        -inf is not listed, and never drawn. Raises QrtError if no token is allowed.
        """
        row.check_allowed()
        p, listed = self._params, row.listed() if self.n_wanted else None
        c = listed or Candidates(_ids(self._n_vocab), row.changed, ranked=False)
        if self._is_greedy:
            best = int(c.logits.argmax())
            row.drawn = c.take(slice(best, best + 1))
            return int(c.ids[best])
        u = uniform(self._seed, position, TOKEN_STREAM)
        if self._mirostat is not None:
            row.drawn, index = self._mirostat.draw(heat(_possible(c), p.temperature), u)
            return int(row.drawn.ids[index])
        is_possible = listed is not None
        for name in self._rest:
            if name != "top_k" and not is_possible:
                c, is_possible = _possible(c), True
            if name in PENALTIES:
                c = self._penalized(name, c, history)
            elif name != "xtc" or uniform(self._seed, position, XTC_STREAM) < p.xtc_probability:
                c = CUTS[name](c, p)
        row.drawn = c = c if is_possible else _possible(c)
        return int(c.ids[draw(c, u)])

    def _penalized(self, name: str, c: Candidates, history: Sequence[int]) -> Candidates:
        """Penalties after a step that dropped candidates."""
        logits = np.full(self._n_vocab, -math.inf, np.float32)
        logits[c.ids] = c.logits
        self._penalize(name, logits, history)
        ids = np.sort(c.ids)
        return Candidates(ids, logits[ids], ranked=False)


@cache
def _ids(n_vocab: int) -> NDArray[np.intp]:
    return np.arange(n_vocab, dtype=np.intp)


def _possible(c: Candidates) -> Candidates:
    """The candidates that are not forbidden."""
    allowed = c.logits > -math.inf
    return c if allowed.all() else c.take(allowed)

"""A row of logits on its way to a token."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Survey
from qrt.errors import QrtError
from qrt.runtime.sampler.candidates import Candidates, largest, softmax

MOST_LISTED = 256
"""Where more would have to be listed, all logits are looked at."""


class Row:
    """What the model gives, and what a token is drawn from.

    `logits`, (n_vocab,), are the model's own and `own` their survey; `changed` are those after all
    that precedes the first step that drops tokens, and `seen` theirs. `drawn` is what a token was
    drawn from, once one was.
    """

    __slots__ = ("changed", "drawn", "logits", "own", "seen")

    def __init__(self, logits: NDArray[np.float32], own: Survey) -> None:
        self.logits = self.changed = logits
        self.own = self.seen = own
        self.drawn: Candidates | None = None

    def check(self) -> None:
        """Raises QrtError if a logit of the model is not finite."""
        if math.isnan(self.own.norm):
            bad = int(np.flatnonzero(~np.isfinite(self.logits))[0])
            raise QrtError(
                f"the model produced a logit that is not finite ({self.logits[bad]} for token "
                f"{bad}); the weights in the file are damaged or out of range"
            )

    def logprob(self, token: int) -> float:
        """The log of a token's probability under the model's own logits."""
        return float(self.logits[token]) - self.own.norm

    def likeliest(self, n: int) -> tuple[tuple[int, float], ...]:
        """The n likeliest tokens under the model's own logits, with their log probabilities.

        `own` was made for at least so many, up to MOST_LISTED, or has no list.
        """
        ids, logits = self.own.ids, self.own.logits
        if ids is None or logits is None or n > MOST_LISTED:
            found = largest(self.logits, n)
        else:
            found = ids[largest(logits, n)]
        return tuple((token, self.logprob(token)) for token in found.tolist())

    def sampled(self, token: int, n: int) -> tuple[float, tuple[tuple[int, float], ...]]:
        """The log of the probability with which `token` was drawn, and the n likeliest of those
        that could have been, with theirs; all of them where they are fewer."""
        assert self.drawn is not None
        ids, logits = self.drawn.ids, self.drawn.logits
        probs = softmax(logits)
        best = largest(logits, n)
        best = best[probs[best] > 0]
        logprobs = np.log(probs[best])
        own = math.log(max(probs[ids == token][0], np.finfo(np.float64).tiny))
        return own, tuple(zip(ids[best].tolist(), logprobs.tolist(), strict=True))

    def listed(self) -> Candidates | None:
        """Those of the changed logits that were listed; None for no list."""
        ids, logits = self.seen.ids, self.seen.logits
        return None if ids is None or logits is None else Candidates(ids, logits, ranked=False)

    def check_allowed(self) -> None:
        """Raises QrtError if every token is forbidden."""
        ids = self.seen.ids
        if ids is None:
            some = self.changed is self.logits or self.changed.max() > -math.inf
        else:
            some = bool(ids.size)
        if not some:
            raise QrtError(
                "no token may be chosen: logit_bias, a processor or the grammar forbids every one"
            )

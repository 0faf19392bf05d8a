"""From the logits of a step to rows that tokens can be drawn from: all rows together.

Kernels look through whole rows; what is left of each is a list of a few candidates, or all of it
for settings that a list does not serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor, Survey
from qrt.errors import InputError
from qrt.runtime.request import Request
from qrt.runtime.sampler import MOST_LISTED, Row

Logits = NDArray[np.float32]


class Taker:
    """A request that a row of logits is for. `failed`: why it ends without a token."""

    __slots__ = ("failed", "history", "logits", "mask", "request", "row", "sampler", "touched")

    def __init__(self, request: Request, logits: Logits) -> None:
        generation = request.generation
        self.request = request
        self.logits = logits
        self.sampler, self.history = generation.sampler, generation.history
        self.mask: NDArray[np.uint32] | None = None
        self.touched: NDArray[np.intp] | None = None
        """The few tokens whose logits change, and nothing else does."""
        if self.sampler.changes and not (self.sampler.processes or generation.is_held):
            self.touched = self.sampler.touched(self.history)
        self.row = Row(logits, Survey(math.nan))
        self.failed: Exception | None = None

    @property
    def n_drawn_from(self) -> int:
        """How many of the largest logits are to be listed to draw from, 0 for none: of the model's
        own, or of those that were rewritten.

        Of those that change, each may make room for one more.
        """
        n = self.sampler.n_wanted
        n += self.touched.size if n and self.touched is not None else 0
        return n if n <= MOST_LISTED else 0

    @property
    def n_listed(self) -> int:
        """How many of the model's largest logits are to be listed, 0 for none."""
        n_logprobs = self.request.generation.n_logprobs
        n_logprobs = n_logprobs if n_logprobs <= MOST_LISTED else 0
        return max(n_logprobs, 0 if self.rewrites else self.n_drawn_from)

    @property
    def rewrites(self) -> bool:
        """Whether all logits may change."""
        return self.sampler.processes or self.request.generation.is_held

    def see(self, survey: Survey) -> None:
        """Takes the survey of the model's logits. Raises QrtError if one is not finite."""
        self.row.own = survey
        self.row.check()
        if self.n_drawn_from:
            self.row.seen = survey
        if self.touched is not None:
            self._patch(self.touched)

    def _patch(self, ids: NDArray[np.intp]) -> None:
        """Puts what changes into the list; where there is none, into a copy of all logits.

        The k largest of the changed logits are listed: one that does not change has less than k
        before it, so that in the model's order it has less than k and those that do change.
        """
        listed = self.row.seen.ids
        if listed is None:
            self.row.changed = self.sampler.changed(self.logits, self.history)
            return
        were = self.logits[ids]
        self.sampler.change(self.logits, self.history)
        both = np.concatenate((listed, ids))
        both.sort()
        changed = self.logits[both]
        self.logits[ids] = were
        kept = changed > -math.inf
        kept[1:] &= both[1:] != both[:-1]
        self.row.seen = Survey(math.nan, both[kept], changed[kept])

    def constrain(self) -> None:
        """Asks its constraint what may come next. Raises what that raises, and InputError."""
        mask = self.request.generation.mask()
        if mask is not None:
            self.mask = np.ascontiguousarray(mask, np.uint32)
            expected = -(-self.logits.size // 32)
            if self.mask.shape != (expected,):
                raise InputError(f"a mask has {expected} words, got an array of {mask.shape}")

    def rewrite(self, masked: Logits | None) -> None:
        """Makes anew what a token is drawn from, of logits under the mask where there are any.

        Raises what a processor raises.
        """
        if masked is None or self.sampler.processes:
            self.row.changed = self.sampler.changed(self.logits, self.history, self.mask)
        else:
            self.sampler.change(masked, self.history)
            self.row.changed = masked


Attempt = Callable[[Taker, Callable[[], None]], None]
"""Makes a call for a taker; what it raises is why that one fails."""


def prepare(executor: Executor, takers: Sequence[Taker], attempt: Attempt) -> None:
    """Makes each taker's row ready to draw from, or says why it is not."""
    own = executor.survey([taker.logits for taker in takers], [t.n_listed for t in takers])
    for taker, survey in zip(takers, own, strict=True):
        attempt(taker, partial(taker.see, survey))
    rewriting = [taker for taker in takers if taker.rewrites and taker.failed is None]
    if not rewriting:
        return
    for taker in rewriting:
        attempt(taker, taker.constrain)
    held = [(taker, taker.mask) for taker in rewriting if taker.mask is not None]
    copies: dict[Taker, Logits] = {}
    if held:
        masked = executor.masked([taker.logits for taker, _ in held], [mask for _, mask in held])
        copies = {taker: copy for (taker, _), copy in zip(held, masked, strict=True)}
    for taker in rewriting:
        if taker.failed is None:
            attempt(taker, partial(taker.rewrite, copies.get(taker)))
    ready = [taker for taker in rewriting if taker.failed is None]
    rows = [taker.row.changed for taker in ready]
    seen = executor.survey(rows, [taker.n_drawn_from for taker in ready])
    for taker, survey in zip(ready, seen, strict=True):
        taker.row.seen = survey

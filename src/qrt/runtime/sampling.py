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

_NO_IDS = np.empty(0, np.intp)


class Taker:
    """A request that a row of logits is for. `failed`: why it ends without a token."""

    __slots__ = ("failed", "history", "logits", "mask", "request", "row", "sampler", "touched")

    def __init__(self, request: Request, logits: Logits) -> None:
        generation = request.generation
        self.request = request
        self.logits = logits
        self.sampler, self.history = generation.sampler, generation.history
        self.mask: NDArray[np.uint32] | None = None
        self.touched = _NO_IDS
        """The few tokens whose logits change beside what a mask forbids."""
        if self.sampler.changes and not self.sampler.processes:
            self.touched = self.sampler.touched(self.history)
        self.row = Row(logits, Survey(math.nan))
        self.failed: Exception | None = None

    @property
    def n_drawn_from(self) -> int:
        """How many of the model's largest logits a list must have to draw from, 0: none serves.

        Of those that change, each may make room for one more.
        """
        n = self.sampler.n_wanted
        return 0 if self.sampler.processes else _listable(n and n + self.touched.size)

    @property
    def n_listed(self) -> int:
        """How many of the model's largest logits are to be listed, 0 for none."""
        n_logprobs = _listable(self.request.generation.n_logprobs)
        n_drawn_from = self.n_drawn_from
        if n_drawn_from and self.request.generation.is_held:
            n_drawn_from = MOST_LISTED  # of which a mask takes some
        return max(n_logprobs, n_drawn_from)

    @property
    def changes_any(self) -> bool:
        """Whether any logit may change."""
        return self.sampler.processes or self.request.generation.is_held

    def see(self, survey: Survey) -> None:
        """Takes the survey of the model's logits. Raises QrtError if one is not finite."""
        self.row.own = survey
        self.row.check()
        if self.changes_any:
            return
        if self.n_drawn_from:
            self.row.seen = survey
        if not self.touched.size:
            return
        if self.row.seen.ids is None:
            self.row.changed = self.sampler.changed(self.logits, self.history)
        else:
            self.row.seen = self._changed(self.row.seen.ids, self.touched)

    def narrow(self) -> bool:
        """Lists what the mask leaves to draw from; False where such a list may lack some.

        The few tokens that a narrow mask allows are all there is. Of a wide one's, a list of the
        model's largest serves that has enough of them left.
        """
        wanted, mask = self.n_drawn_from, self.mask
        if not wanted:
            return False
        if mask is not None and np.bitwise_count(mask).sum() <= MOST_LISTED:
            bits = np.unpackbits(mask.view(np.uint8), count=self.logits.size, bitorder="little")
            self.row.seen = self._changed(np.flatnonzero(bits), _NO_IDS)
            return True
        listed = self.row.own.ids
        if listed is None:
            return False
        listed = listed[_allowed(mask, listed)]
        if listed.size < wanted:
            return False
        self.row.seen = self._changed(listed, self.touched[_allowed(mask, self.touched)])
        return True

    def _changed(self, listed: NDArray[np.intp], ids: NDArray[np.intp]) -> Survey:
        """The listed tokens and those of `ids`, with the logits that they have after all changes.

        If `listed` has the k largest of the model's and one more for each of `ids`, the k largest
        of the changed logits are among them: one that does not change has less than k before it,
        so that in the model's order it has less than k and those that do change.
        """
        were = self.logits[self.touched]
        self.sampler.change(self.logits, self.history)
        both = np.concatenate((listed, ids))
        both.sort()
        changed = self.logits[both]
        self.logits[self.touched] = were
        kept = changed > -math.inf
        kept[1:] &= both[1:] != both[:-1]
        return Survey(math.nan, both[kept], changed[kept])

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


def _listable(n: int) -> int:
    """So many, or 0 where that is more than is listed."""
    return n if n <= MOST_LISTED else 0


def _allowed(mask: NDArray[np.uint32] | None, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of the ids a mask allows; all of them without one."""
    if mask is None:
        return np.ones(ids.size, bool)
    bits: NDArray[np.uint32] = mask[ids >> 5] >> (ids & 31).astype(np.uint32) & np.uint32(1)
    return bits.astype(np.bool_)


Attempt = Callable[[Taker, Callable[[], None]], None]
"""Makes a call for a taker; what it raises is why that one fails."""


def prepare(executor: Executor, takers: Sequence[Taker], attempt: Attempt) -> None:
    """Makes each taker's row ready to draw from, or says why it is not."""
    own = executor.survey([taker.logits for taker in takers], [t.n_listed for t in takers])
    for taker, survey in zip(takers, own, strict=True):
        attempt(taker, partial(taker.see, survey))
    changing = [taker for taker in takers if taker.changes_any and taker.failed is None]
    for taker in changing:
        attempt(taker, taker.constrain)
    rewriting = [taker for taker in changing if taker.failed is None and not taker.narrow()]
    if not rewriting:
        return
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
    seen = executor.survey(rows, [_listable(taker.sampler.n_wanted) for taker in ready])
    for taker, survey in zip(ready, seen, strict=True):
        taker.row.seen = survey

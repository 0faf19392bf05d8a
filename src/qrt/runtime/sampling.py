"""From the logits of a step to rows that tokens can be drawn from: all rows together.

Kernels look through whole rows, once for what the model gives and once for what was made of it;
what is left of a row is a few candidates, or all of it for settings that a list does not serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor, Survey
from qrt.errors import InputError
from qrt.runtime.request import Request
from qrt.runtime.sampler import Row

Logits = NDArray[np.float32]
Mask = NDArray[np.uint32]


class Taker:
    """A request that a row of logits is for. `failed`: why it ends without a token."""

    __slots__ = ("_touched", "copy", "failed", "logits", "mask", "request", "row")

    def __init__(self, request: Request, logits: Logits) -> None:
        self.request = request
        self.logits = logits
        self.mask: Mask | None = None
        self.copy: Logits | None = None
        self.row: Row | None = None
        self.failed: Exception | None = None
        self._touched: tuple[NDArray[np.intp], Logits] | None = None

    def constrain(self) -> None:
        """Asks its constraint what may come next. Raises what that raises, and InputError."""
        mask = self.request.generation.mask()
        if mask is not None:
            self.mask = np.ascontiguousarray(mask, np.uint32)
            expected = -(-self.logits.size // 32)
            if self.mask.shape != (expected,):
                raise InputError(f"a mask has {expected} words, got an array of {mask.shape}")

    def change(self) -> None:
        """Makes of the logits what a token is drawn from. Raises what a processor raises.

        Where nothing but a list will be asked for, the few that change are changed in place.
        """
        assert self.row is not None
        generation = self.request.generation
        sampler, history = generation.sampler, generation.history
        if sampler.processes or (self.copy is None and not sampler.n_wanted):
            self.row.changed = sampler.changed(self.logits, history, self.mask)
            return
        if self.copy is None:
            ids = sampler.touched(history)
            self._touched = ids, self.logits[ids]
        else:
            self.row.changed = self.copy
        sampler.change(self.row.changed, history)

    def look(self, survey: Survey) -> None:
        """Takes the survey of the changed logits; those changed in place are as they were then."""
        assert self.row is not None
        self.row.seen = survey
        if self._touched is not None:
            ids, were = self._touched
            self.logits[ids] = were
            if survey.ids is None:
                generation = self.request.generation
                self.row.changed = generation.sampler.changed(self.logits, generation.history)


Attempt = Callable[[Taker, Callable[[], None]], None]
"""Makes a call for a taker; what it raises is why that one fails."""


def prepare(executor: Executor, takers: Sequence[Taker], attempt: Attempt) -> None:
    """Gives each taker its row, or the reason why it has none."""
    wanted = [taker.request.generation.n_listed for taker in takers]
    own = executor.survey([taker.logits for taker in takers], wanted)
    for taker, survey in zip(takers, own, strict=True):
        taker.row = Row(taker.logits, survey)
        attempt(taker, taker.row.check)
    changing = [
        taker
        for taker in takers
        if taker.failed is None and taker.request.generation.changes_logits
    ]
    if not changing:
        return
    for taker in changing:
        attempt(taker, taker.constrain)
    held = [(taker, taker.mask) for taker in changing if taker.mask is not None]
    if held:
        copies = executor.masked([taker.logits for taker, _ in held], [mask for _, mask in held])
        for (taker, _), copy in zip(held, copies, strict=True):
            taker.copy = copy
    for taker in changing:
        if taker.failed is None:
            attempt(taker, taker.change)
    changed = [
        (taker, taker.row.changed, taker.request.generation.sampler.n_wanted)
        for taker in changing
        if taker.failed is None and taker.row is not None
    ]
    surveys = executor.survey([row for _, row, _ in changed], [k for _, _, k in changed])
    for (taker, _, _), survey in zip(changed, surveys, strict=True):
        taker.look(survey)

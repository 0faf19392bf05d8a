"""A generation that somebody waits for: what is wanted of it, and what has become of it."""

from __future__ import annotations

import threading

from qrt.runtime.generation import Generation
from qrt.runtime.policy import AHEAD
from qrt.runtime.sequence import Sequence

UNTIL_IT_ENDS = 1 << 62
"""As many records as there will be."""


class Request:
    """A generation, the sequence that it runs on, and how far its reader wants it to be.

    Its reader's thread sets `wanted` and `n_read`; all else changes under the lead.
    """

    __slots__ = (
        "error", "generation", "has_ended", "has_own", "n_read", "number", "reading", "seq",
        "wanted",
    )  # fmt: skip

    def __init__(self, generation: Generation, seq: Sequence | None = None) -> None:
        """It runs on `seq` and leaves it idle, or on a sequence of its own."""
        self.generation = generation
        self.seq = seq
        self.has_own = seq is None
        self.number = 0  # in order of arrival, from 1 on; 0: not submitted
        self.wanted = 0  # records that somebody waits for
        self.n_read = 0
        self.error: BaseException | None = None
        self.has_ended = False
        self.reading = threading.Lock()  # held by the thread that reads

    def is_ready(self) -> bool:
        """Whether its reader has what it waits for."""
        return self.has_ended or len(self.generation.records) >= self.wanted

    def fail(self, error: BaseException | None) -> None:
        """What remains where the engine could not end it: its reader must not wait for ever."""
        if not self.has_ended:
            self.error, self.has_ended = error, True

    @property
    def sequence(self) -> Sequence:
        """The sequence that it runs on, once it was admitted."""
        assert self.seq is not None
        return self.seq

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for its next token."""
        return len(self.generation.records) < self.wanted

    @property
    def rank(self) -> tuple[int, int]:
        """Who goes first has the least: the highest priority, among equals the oldest."""
        return -self.generation.priority, self.number

    @property
    def n_stored(self) -> int:
        """Rows of it that are computed."""
        return 0 if self.seq is None else len(self.seq.tokens)

    @property
    def n_left(self) -> int:
        """Rows to compute until it gives its next token."""
        return len(self.generation.context) - self.n_stored

    @property
    def n_whole(self) -> int:
        """Rows that one step computes together: those of a text that an encoder is to read."""
        return 0 if self.n_stored else self.generation.n_encoded

    @property
    def branch(self) -> int:
        """The page border up to which others have begun alike; 0: none."""
        return 0 if self.seq is None else self.seq.branch

    def may_run_ahead(self) -> bool:
        """Whether one row gives a token that its reader will soon ask for."""
        return len(self.generation.records) < self.n_read + AHEAD and self.n_left == 1

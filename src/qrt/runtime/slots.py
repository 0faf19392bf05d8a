"""One sequence's slots in a Recurrent group: the state it stands at, and snapshots of earlier."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qrt.graph.batch import NO_PAGE, PAGE_LEN
from qrt.runtime.pages import Copy
from qrt.runtime.pool import Pool

SNAPSHOTS = 3
"""Snapshots that a sequence keeps: the end of its last prompt, and the last page borders."""


class Slots:
    """A step reads the current slot and writes a fresh one, which then takes its place.

    A state cannot be cut back, so it is kept where a step ends at a page border, and where it is
    asked for: the oldest goes first, that of the last `keep` last.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._at = (0, NO_PAGE)  # positions that the current state has seen, its slot
        self._next: tuple[int, int] | None = None  # the same of the state that a step writes
        self._kept: dict[int, int] = {}
        self._mark = 0

    @property
    def held(self) -> list[int]:
        """The slots of all its states, once for each reference."""
        slots = [self._at[1], *self._kept.values()]
        if self._next is not None:
            slots.append(self._next[1])
        return [slot for slot in slots if slot != NO_PAGE]

    def fork(self) -> Self:
        """A second sequence at the same state, with the same snapshots."""
        twin = type(self)(self._pool)
        twin._at, twin._kept, twin._mark = self._at, dict(self._kept), self._mark
        self._pool.share(twin.held)
        return twin

    @property
    def snapshots(self) -> list[int]:
        """The positions up to which it has a snapshot."""
        return list(self._kept)

    def unit(self, end: int) -> int:
        """The slot of the state after `end` positions, NO_PAGE where there is none."""
        return self._at[1] if self._at[0] == end else self._kept.get(end, NO_PAGE)

    def swap(self, end: int, slot: int) -> None:
        """Its own slot of the same state goes on: it is let go soon."""

    def adopt(self, n_tokens: int, slots: Items[int]) -> None:
        """From empty: refers to the last of `slots`, the state after so many positions."""
        if n_tokens:
            self._at = n_tokens, slots[-1]
            self._pool.share([slots[-1]])

    def needed(self, start: int, n_rows: int) -> int:  # noqa: ARG002
        """Free slots that a step takes."""
        return 1

    def begin(self, start: int, n_rows: int, copy: Copy) -> NDArray[np.int32]:  # noqa: ARG002
        """The slot to read and the slot to write. Raises BackendError if none is free."""
        assert self._at[0] == start
        self._next = start + n_rows, self._pool.alloc(1)[0]
        return np.array((self._at[1], self._next[1]), np.int32)

    def finish(self, n_tokens: int) -> None:
        """Moves to the state after `n_tokens`: that of the step, an earlier one, or where it is."""
        old, self._next, following = self._at, None, self._next
        if following is not None and following[0] == n_tokens:
            self._at = following
            self._drop(old[1])
            if n_tokens % PAGE_LEN == 0:
                self._snapshot(n_tokens)
            return
        if following is not None:
            self._drop(following[1])
        if n_tokens != old[0]:
            slot = self._kept[n_tokens] if n_tokens else NO_PAGE
            self._at = n_tokens, slot
            if slot != NO_PAGE:
                self._pool.share([slot])
            self._drop(old[1])
            for position in [p for p in self._kept if p > n_tokens]:
                self._drop(self._kept.pop(position))

    def restorable(self, n_tokens: int) -> int:
        """The most positions up to `n_tokens` that it can be cut to."""
        return max((p for p in (self._at[0], *self._kept) if p <= n_tokens), default=0)

    def keep(self, n_tokens: int) -> None:
        """Keeps the current state, after `n_tokens`, as a snapshot that outlasts the others."""
        assert self._at[0] == n_tokens
        if n_tokens:
            self._mark = n_tokens
            self._snapshot(n_tokens)

    def shed(self) -> None:
        """Lets go of all snapshots."""
        kept, self._kept = self._kept, {}
        self._pool.drop(list(kept.values()))

    def check_integrity(self, n_tokens: int) -> None:
        """Asserts that it stands at `n_tokens`, and that no snapshot lies behind that."""
        assert self._at[0] == n_tokens
        assert (self._at[1] == NO_PAGE) == (n_tokens == 0)
        assert self._next is None
        assert len(self._kept) <= SNAPSHOTS
        assert all(0 < position <= n_tokens for position in self._kept)

    def _snapshot(self, n_tokens: int) -> None:
        if n_tokens in self._kept:
            return
        self._pool.share([self._at[1]])
        self._kept[n_tokens] = self._at[1]
        while len(self._kept) > SNAPSHOTS:
            self._drop(self._kept.pop(min(p for p in self._kept if p != self._mark)))

    def _drop(self, slot: int) -> None:
        if slot != NO_PAGE:
            self._pool.drop([slot])

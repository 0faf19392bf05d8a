"""One sequence's slots in a Recurrent group: the state it stands at, and snapshots of earlier."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as Items
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.graph.batch import NO_PAGE, PAGE_LEN
from qrt.runtime.pages import Copy
from qrt.runtime.pool import Pool

_GROWTH: Final = 2
_N_LASTING: Final = 4
"""Snapshots that outlast others: of the last prompt its end, the page border before that, and where
others have begun alike."""


class Slots:
    """A step reads the current slot and writes a fresh one, which then takes its place.

    A state cannot be cut back, so it is kept where a step ends at a page border, and where it is
    asked for; see `worth_keeping` for how long.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._at = (0, NO_PAGE)  # positions that the current state has seen, its slot
        self._next: tuple[int, int] | None = None  # the same of the state that a step writes
        self._kept: dict[int, int] = {}
        self._lasting: tuple[int, ...] = ()
        self._base = 0  # where drafted tokens began

    @property
    def held(self) -> list[int]:
        """The slots of all its states, once for each reference."""
        slots = [self._at[1], *self._kept.values()]
        if self._next is not None:
            slots.append(self._next[1])
        return [slot for slot in slots if slot != NO_PAGE]

    @property
    def n_own(self) -> int:
        """How many of them it needs to go on: that of the current state, if there is one."""
        return int(self._at[1] != NO_PAGE)

    @property
    def spare(self) -> list[int]:
        """Those that it could do without: its snapshots, once for each reference."""
        return list(self._kept.values())

    def fork(self) -> Self:
        """A second sequence at the same state, with the same snapshots."""
        twin = type(self)(self._pool)
        twin._at, twin._kept = self._at, dict(self._kept)
        twin._lasting, twin._base = self._lasting, self._base
        self._pool.share(twin.held)
        return twin

    @property
    def snapshots(self) -> list[int]:
        """The positions up to which it has a snapshot, rising."""
        return sorted(self._kept)

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

    @property
    def worth_storing(self) -> list[int]:
        """Where its state is worth a place in a file: at the last page border of the last prompt,
        from where that can be answered anew, and where it stands."""
        lasting = [end for end in self._lasting if end % PAGE_LEN == 0 and end in self._kept]
        return [*(end for end in lasting[-1:] if end < self._at[0]), self._at[0]]

    def refill(self, n_tokens: int, ends: Items[int]) -> list[int]:
        """From empty: takes slots for states after so many positions, to be written. It stands at
        the last, and has a snapshot of each other that there is a slot for, else NO_PAGE.

        Raises InputError where `ends` do not rise to `n_tokens`, BackendError where no slot is
        free.
        """
        rises = all(end < after for end, after in zip((0, *ends), ends, strict=False))
        if not rises or ends[-1:] != [n_tokens]:
            raise InputError("the state is damaged: its positions do not rise to its end")
        slots = self._pool.alloc(max(min(len(ends), self._pool.n_free), 1))
        own = ends[len(ends) - len(slots) :]
        *before, self._at = zip(own, slots, strict=True)
        self._kept, self._lasting = dict(before), tuple(own[:-1])
        return [NO_PAGE] * (len(ends) - len(slots)) + slots

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
            for end in self.snapshots:  # who is stored goes in this order
                if end > n_tokens:
                    self._drop(self._kept.pop(end))
            self._drop(old[1])

    def restorable(self, n_tokens: int) -> int:
        """The most positions up to `n_tokens` that it can be cut to."""
        return max((p for p in (self._at[0], *self._kept) if p <= n_tokens), default=0)

    def keep(self, n_tokens: int, *, lasts: bool = True) -> None:
        """Keeps the current state, after `n_tokens`, as a snapshot.

        lasts: it outlasts most others, and so does the page border before it; else until the next
        such call.
        """
        assert self._at[0] == n_tokens
        if not n_tokens:
            return
        if lasts:
            border = n_tokens // PAGE_LEN * PAGE_LEN
            ends = dict.fromkeys((*self._lasting, border, n_tokens))
            self._lasting = tuple(ends)[-_N_LASTING:]
        else:
            self._base = n_tokens
        self._snapshot(n_tokens)

    def shed(self) -> None:
        """Lets go of all snapshots."""
        kept, self._kept = self._kept, {}
        for end in sorted(kept):
            self._drop(kept[end])

    def check_integrity(self, n_tokens: int) -> None:
        """Asserts that it stands at `n_tokens`, and that no snapshot lies behind that."""
        assert self._at[0] == n_tokens
        assert (self._at[1] == NO_PAGE) == (n_tokens == 0)
        assert self._next is None
        most = 2 * n_tokens.bit_length() + _N_LASTING
        assert len(self._kept) <= most
        assert all(0 < position <= n_tokens for position in self._kept)

    def _snapshot(self, n_tokens: int) -> None:
        if n_tokens not in self._kept:
            self._pool.share([self._at[1]])
            self._kept[n_tokens] = self._at[1]
        wanted = worth_keeping(self.snapshots, n_tokens, {*self._lasting, self._base})
        for end in self._kept.keys() - set(wanted):
            self._pool.drop([self._kept.pop(end)], go_first=True)

    def _drop(self, slot: int) -> None:
        if slot != NO_PAGE:
            self._pool.drop([slot])


def worth_keeping(ends: Items[int], n_tokens: int, lasting: Collection[int] = ()) -> list[int]:
    """Those of the snapshots at `ends`, rising, that a sequence of `n_tokens` keeps: the last two,
    and of earlier ones the fewer, the further away they are.

    So there are few of any length, and a cut by n tokens has at most about `_GROWTH` times n to be
    computed again.
    """
    wanted, before = [], 0
    for end, after in zip(ends, (*ends[1:], n_tokens), strict=True):
        if end in lasting or after - before > _GROWTH * (n_tokens - after):
            wanted.append(end)
            before = end
    return wanted

"""One sequence's pages in a KV group, some of them shared with other sequences."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.graph.batch import NO_PAGE, PAGE_LEN
from qrt.runtime.pool import Pool, pages_for

Copy = Callable[[int, int], None]
"""copy(source, target): copies a page of the group."""

SLACK = PAGE_LEN
"""Positions kept before a window, so that a cut back by as many needs nothing computed again."""


class Pages:
    """Position p lies in page `p // PAGE_LEN` of a table that grows.

    A page that another sequence refers to is copied before it is written. Pages that fell out of
    the window, if there is one, are let go.
    """

    def __init__(self, pool: Pool, window: int | None) -> None:
        self._pool = pool
        self._window = window
        self._table = np.full(4, NO_PAGE, np.int32)
        self._first = 0  # pages before it were let go
        self._n = 0

    @property
    def held(self) -> list[int]:
        """The pages that the table refers to."""
        pages: list[int] = self._table[self._first : self._n].tolist()
        return pages

    @property
    def n_own(self) -> int:
        """How many it needs to go on: all of them."""
        return self._n - self._first

    @property
    def spare(self) -> list[int]:
        """Those that it could do without: none."""
        return []

    def fork(self) -> Self:
        """A second table of the same pages."""
        twin = type(self)(self._pool, self._window)
        twin._table, twin._first, twin._n = self._table.copy(), self._first, self._n
        self._pool.share(twin.held)
        return twin

    def needed(self, start: int, n_rows: int) -> int:
        """Free pages that a step takes which writes so many positions from `start` on."""
        return pages_for(start + n_rows) - self._n + self._writes_shared(start)

    def begin(self, start: int, n_rows: int, copy: Copy) -> NDArray[np.int32]:
        """The table for such a step. Raises BackendError if too few pages are free."""
        if self._writes_shared(start):
            old = int(self._table[start // PAGE_LEN])
            (page,) = self._pool.alloc(1)
            copy(old, page)
            self._table[start // PAGE_LEN] = page
            self._pool.drop([old])
        n = pages_for(start + n_rows)
        if n > self._n:
            if n > len(self._table):
                spare = np.full(max(n, 2 * len(self._table)) - len(self._table), NO_PAGE, np.int32)
                self._table = np.concatenate([self._table, spare])
            self._table[self._n : n] = self._pool.alloc(n - self._n)
            self._n = n
        return self._table[:n]

    def unit(self, end: int) -> int:
        """The page of the last of `end` positions, NO_PAGE where there is none."""
        i = (end - 1) // PAGE_LEN
        return int(self._table[i]) if self._first <= i < self._n else NO_PAGE

    def swap(self, end: int, page: int) -> None:
        """Puts another page of the same content in that place."""
        i = (end - 1) // PAGE_LEN
        old = int(self._table[i])
        self._pool.share([page])
        self._table[i] = page
        self._pool.drop([old])

    def adopt(self, n_tokens: int, pages: Items[int]) -> None:
        """From empty: refers to the pages of so many positions, which stay others' too.

        Those before the window may be NO_PAGE, and are let go.
        """
        table = np.full(max(len(pages), len(self._table)), NO_PAGE, np.int32)
        first = max((i + 1 for i, page in enumerate(pages) if page == NO_PAGE), default=0)
        if self._window is not None:
            first = max(first, (n_tokens + 1 - self._window - SLACK) // PAGE_LEN)
        table[first : len(pages)] = pages[first:]
        self._table, self._first, self._n = table, first, len(pages)
        self._pool.share(self.held)

    def refill(self, n_tokens: int, n_held: int) -> None:
        """From empty: takes `n_held` pages, the last ones of so many positions, to be written.

        Raises InputError where those are not what so many positions need, BackendError where too
        few pages are free.
        """
        n = pages_for(n_tokens)
        first = n - n_held
        needed = 0 if self._window is None else max(n_tokens + 1 - self._window, 0) // PAGE_LEN
        if not 0 <= first <= needed:
            raise InputError(f"{n_held} pages are not those of {n_tokens} positions")
        table = np.full(max(n, len(self._table)), NO_PAGE, np.int32)
        table[first:n] = self._pool.alloc(n_held)
        self._table, self._first, self._n = table, first, n

    def finish(self, n_tokens: int) -> None:
        """Lets go of what `n_tokens` positions do not need, after a step that failed or did not."""
        n = pages_for(n_tokens)
        if n < self._n:
            spare = self._table[max(n, self._first) : self._n].tolist()
            self._n, self._first = n, min(self._first, n)
            self._pool.drop(spare)
        if self._window is not None:
            first = max(n_tokens + 1 - self._window - SLACK, 0) // PAGE_LEN
            if first > self._first:
                gone = self._table[self._first : first].tolist()
                self._table[self._first : first] = NO_PAGE
                self._first = first
                self._pool.drop(gone)

    def restorable(self, n_tokens: int) -> int:
        """The most positions up to `n_tokens` that it can be cut to: all of them, or none."""
        if self._window is None or self._first == 0:
            return n_tokens
        lowest = max(n_tokens + 1 - self._window, 0)
        return n_tokens if lowest >= self._first * PAGE_LEN else 0

    def keep(self, n_tokens: int, *, lasts: bool = True) -> None:
        """Pages need no snapshot."""

    def shed(self) -> None:
        """Pages have no snapshots."""

    def check_integrity(self, n_tokens: int) -> None:
        """Asserts that it has the pages of `n_tokens` positions, and none before the window's."""
        assert self._n == pages_for(n_tokens)
        assert NO_PAGE not in self._table[self._first : self._n]
        assert (self._table[: self._first] == NO_PAGE).all()

    def _writes_shared(self, start: int) -> bool:
        """Whether a step from `start` on writes into a page that others refer to."""
        if start % PAGE_LEN == 0:
            return False
        return self._pool.is_shared(int(self._table[start // PAGE_LEN]))

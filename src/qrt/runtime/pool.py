"""Which pages, or slots, of a state group are free, and how often the others are referred to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from qrt.errors import BackendError
from qrt.graph.batch import PAGE_LEN


def pages_for(n_positions: int) -> int:
    """Pages that hold so many positions."""
    return -(-n_positions // PAGE_LEN)


class Pool:
    """Counts the references to each of `n_pages`. Not thread-safe; the storage is the backend's.

    `what` names the pages in errors.
    """

    def __init__(self, n_pages: int, what: str) -> None:
        self.n_pages = n_pages
        self._what = what
        self._free = list(range(n_pages - 1, -1, -1))
        self._counts = [0] * n_pages

    @property
    def n_free(self) -> int:
        """Pages that nothing refers to."""
        return len(self._free)

    def alloc(self, n: int) -> list[int]:
        """Takes n pages, those freed last first. Raises BackendError if fewer are free."""
        if n > len(self._free):
            raise BackendError(
                f"the KV cache is full: {n} {self._what} needed, {len(self._free)} of "
                f"{self.n_pages} free; let other generations finish first"
            )
        pages = [self._free.pop() for _ in range(n)]
        for page in pages:
            self._counts[page] = 1
        return pages

    def is_shared(self, page: int) -> bool:
        """Whether more than one table refers to it."""
        return self._counts[page] > 1

    def share(self, pages: Iterable[int]) -> None:
        """Counts one reference more to each."""
        for page in pages:
            self._counts[page] += 1

    def drop(self, pages: Sequence[int]) -> None:
        """Counts one reference less to each; those that have none left are free."""
        counts = self._counts
        for page in reversed(pages):
            counts[page] -= 1
            if not counts[page]:
                self._free.append(page)

    def recount(self, held: Iterable[int]) -> None:
        """Counts anew from all references: puts right what an interrupt cut short."""
        found = Counter(held)
        self._counts = [found[page] for page in range(self.n_pages)]
        self._free = [page for page in range(self.n_pages - 1, -1, -1) if not found[page]]

    def check_integrity(self, held: Iterable[int]) -> None:
        """Asserts that each page is free, or counted exactly as often as `held` has it."""
        found = Counter(held)
        assert self._counts == [found[page] for page in range(self.n_pages)]
        assert sorted(self._free) == [page for page in range(self.n_pages) if not found[page]]

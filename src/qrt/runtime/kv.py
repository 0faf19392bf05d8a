"""Bookkeeping of KV pages: which pages are free, and which hold which sequence.

The storage belongs to the backend; here are only page numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from collections.abc import Sequence as Items

from qrt.errors import BackendError
from qrt.graph.batch import PAGE_LEN


def pages_for(n_positions: int) -> int:
    """Pages that hold so many positions."""
    return -(-n_positions // PAGE_LEN)


class PagePool:
    """The free pages of `n_pages`. Not thread-safe: the engine calls it under its lock."""

    def __init__(self, n_pages: int) -> None:
        self.n_pages = n_pages
        self._free = list(range(n_pages - 1, -1, -1))

    @property
    def n_free(self) -> int:
        """Pages that no sequence holds."""
        return len(self._free)

    def alloc(self, n: int) -> list[int]:
        """Takes n pages, those freed last first. Raises BackendError if fewer are free."""
        if n > len(self._free):
            raise BackendError(
                f"the KV cache is full: {n} pages of {PAGE_LEN} positions needed, "
                f"{len(self._free)} of {self.n_pages} free; let other generations finish first"
            )
        return [self._free.pop() for _ in range(n)]

    def free(self, pages: Items[int]) -> None:
        """Gives pages back."""
        self._free.extend(reversed(pages))

    def recount(self, held: Iterable[int]) -> None:
        """Makes every page free that is not in `held`: puts right what an interrupt cut short."""
        taken = set(held)
        self._free = [page for page in range(self.n_pages - 1, -1, -1) if page not in taken]

    def check_integrity(self, held: Iterable[int]) -> None:
        """Asserts that each page is free or held, and that only once."""
        assert sorted(itertools.chain(self._free, held)) == list(range(self.n_pages))


class Sequence:
    """Tokens whose keys and values are stored: token i at position i, in page i // PAGE_LEN.

    Only the engine changes it. It has an owner while a generation runs on it; without one it is
    idle, and keeps its pages for reuse until another sequence needs them.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.pages: list[int] = []
        self.owner: object | None = None
        self.last_step = 0

    def __len__(self) -> int:
        return len(self.tokens)

    def common_prefix(self, tokens: Items[int]) -> int:
        """How many first tokens of this sequence and of `tokens` are the same."""
        n = min(len(self.tokens), len(tokens))
        return next((i for i in range(n) if self.tokens[i] != tokens[i]), n)

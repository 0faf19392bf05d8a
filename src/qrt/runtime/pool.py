"""Which pages, or slots, of a state group are free, and how often the others are referred to."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

from qrt.errors import BackendError
from qrt.graph.batch import PAGE_LEN


def pages_for(n_positions: int) -> int:
    """Pages that hold so many positions."""
    return -(-n_positions // PAGE_LEN)


class Pool:
    """Counts the references to each of `n_pages`. Not thread-safe; the storage is the backend's.

    A page may be kept for the prefix store beside those references, or without any: then it is
    idle, and counts as free. `what` names the pages in errors.
    """

    def __init__(self, n_pages: int, what: str) -> None:
        self.n_pages = n_pages
        self._what = what
        self._free = list(range(n_pages - 1, -1, -1))
        self._counts = [0] * n_pages
        self._kept: set[int] = set()
        self._idle: OrderedDict[int, None] = OrderedDict()  # kept, referred to by nothing; in order
        self.forget: Callable[[int], None] = self.let_go
        """Called with an idle page that is needed: its keeper lets go of it."""

    @property
    def n_free(self) -> int:
        """Pages that nothing refers to, idle ones among them."""
        return len(self._free) + len(self._idle)

    def alloc(self, n: int) -> list[int]:
        """Takes n pages, those freed last first, idle ones last. Raises BackendError if fewer are
        free."""
        if n > self.n_free:
            raise BackendError(
                f"the KV cache is full: {n} {self._what} needed, {self.n_free} of "
                f"{self.n_pages} free; let other generations finish first"
            )
        while len(self._free) < n:
            self.forget(next(iter(self._idle)))
        pages = [self._free.pop() for _ in range(n)]
        for page in pages:
            self._counts[page] = 1
        return pages

    def is_shared(self, page: int) -> bool:
        """Whether more than one table refers to it, or it is kept."""
        return self._counts[page] > 1 or page in self._kept

    def count(self, page: int) -> int:
        """The references to it."""
        return self._counts[page]

    def keep(self, page: int) -> None:
        """Keeps a page that something refers to."""
        self._kept.add(page)

    def let_go(self, page: int) -> None:
        """Keeps it no longer; without references it is free."""
        self._kept.discard(page)
        if page in self._idle:
            del self._idle[page]
            self._free.append(page)

    def share(self, pages: Iterable[int]) -> None:
        """Counts one reference more to each."""
        for page in pages:
            if not self._counts[page]:
                del self._idle[page]
            self._counts[page] += 1

    def drop(self, pages: Sequence[int], *, go_first: bool = False) -> None:
        """Counts one reference less to each; those that have none left are free, or idle.

        go_first: idle ones are taken before all others, else after those that are idle longer.
        """
        counts = self._counts
        for page in reversed(pages):
            counts[page] -= 1
            if counts[page]:
                continue
            if page in self._kept:
                self._idle[page] = None
                if go_first:
                    self._idle.move_to_end(page, last=False)
            else:
                self._free.append(page)

    def recount(self, held: Iterable[int], kept: Iterable[int] = ()) -> None:
        """Counts anew from all references: puts right what an interrupt cut short."""
        found = Counter(held)
        self._counts = [found[page] for page in range(self.n_pages)]
        self._kept = set(kept)
        idle = [*(page for page in self._idle if page in self._kept), *sorted(self._kept)]
        self._idle = OrderedDict.fromkeys(page for page in idle if not found[page])
        used = found.keys() | self._kept
        self._free = [page for page in range(self.n_pages - 1, -1, -1) if page not in used]

    def check_integrity(self, held: Iterable[int], kept: Iterable[int] = ()) -> None:
        """Asserts that each page is free, or counted exactly as often as `held` has it, or kept."""
        found = Counter(held)
        assert self._counts == [found[page] for page in range(self.n_pages)]
        assert self._kept == set(kept)
        assert set(self._idle) == {page for page in self._kept if not found[page]}
        used = found.keys() | self._kept
        assert sorted(self._free) == [page for page in range(self.n_pages) if page not in used]

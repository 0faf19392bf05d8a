"""The prefix store on disk, as an engine uses it: what follows a prefix, read and written."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Final, NamedTuple

from qrt.graph.batch import PAGE_LEN
from qrt.runtime.prefix_files import Memory, Place, PrefixFiles
from qrt.runtime.prefix_tree import MIN_SHARED, Node, Tree, packed
from qrt.runtime.prefix_writer import PrefixWriter

READ_AT_ONCE: Final = 32 << 20
"""Bytes that are read between two steps; who has more to read waits, others do not."""


class Following(NamedTuple):
    """A file whose first `n_shared` tokens follow a prefix."""

    place: Place
    tokens: list[int]
    n_shared: int


class PrefixDisk:
    """Files of one model: of a tree that begins with its key."""

    def __init__(
        self, files: PrefixFiles, tree: Tree, memory: Callable[[int, int], Items[Memory]]
    ) -> None:
        """memory(group, page): that of a page."""
        self._files = files
        self._tree = tree
        self._memory = memory
        self.writer = PrefixWriter(files, tree, memory)

    def following(self, node: Node, tokens: Items[int], n_stored: int) -> Following | None:
        """What goes on with `tokens` behind `node`, further than `n_stored`."""
        rest = list(tokens[node.end : node.end + PAGE_LEN])
        n_least = max(n_stored - node.end + 1, MIN_SHARED)
        if len(rest) == PAGE_LEN:
            page = Place(node.digest, self._tree.digest_below(node, packed(rest)), PAGE_LEN)
            if self._files.has(page):
                return Following(page, rest, PAGE_LEN)
        best: Following | None = None
        for place in self._files.below(node.digest) if len(rest) >= n_least else ():
            own = self._files.tokens(place)
            n_shared = next((i for i, (a, b) in enumerate(zip(own, rest, strict=False)) if a != b),
                            min(len(own), len(rest)))  # fmt: skip
            if n_shared < n_least or self._tree.digest_below(node, packed(own)) != place.digest:
                continue
            best, n_least = Following(place, own, n_shared), n_shared + 1
        return best

    def read(self, found: Following, pages: Items[int]) -> int:
        """Reads a file into a page of each group; its bytes, none where it is wrong or gone."""
        memory = [part for group, page in enumerate(pages) for part in self._memory(group, page)]
        if not self._files.read(found.place, found.tokens, memory):
            return 0
        self._files.touch([found.place])
        return sum(part.nbytes for part in memory)

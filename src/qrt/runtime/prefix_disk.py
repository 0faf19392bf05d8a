"""The prefix store on disk, as an engine uses it: what follows a prefix, read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from functools import partial
from typing import Final, NamedTuple

from qrt.graph.batch import NO_PAGE, PAGE_LEN
from qrt.runtime.prefix_files import Memory, Place, PrefixFiles
from qrt.runtime.prefix_tree import MIN_SHARED, Node, Tree, packed
from qrt.runtime.prefix_writer import PrefixWriter
from qrt.runtime.prefixes import Prefixes

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
        self,
        files: PrefixFiles,
        tree: Tree,
        memory: Callable[[int, int], Items[Memory]],
        of_states: Items[int] = (),
    ) -> None:
        """memory(group, unit): that of a page or slot. of_states: the groups that have slots."""
        self._files = files
        self._tree = tree
        self._memory = memory
        self.writer = PrefixWriter(files, tree, memory, of_states)

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

    def to_state(self, root: Node, tokens: Items[int], n_stored: int) -> list[Following]:
        """The pages of `tokens` up to the last that has a file of states at its end; none where
        that is not further than `n_stored`."""
        path, n_wanted, digest = list[Following](), 0, root.digest
        while True:
            start = PAGE_LEN * len(path)
            rest = list(tokens[start : start + PAGE_LEN])
            page = Place(digest, self._tree.digest_after(digest, packed(rest)), len(rest))
            if len(rest) < PAGE_LEN or not self._files.has(page):
                break
            path.append(Following(page, rest, PAGE_LEN))
            digest = page.digest
            if self._files.has(page.states):
                n_wanted = len(path)
        for place in sorted(self._files.below(digest), key=lambda place: -place.n_tokens):
            if place.n_tokens < MIN_SHARED:
                break
            own = self._files.tokens(place)
            is_own = self._tree.digest_after(digest, packed(own)) == place.digest
            if own == rest[: place.n_tokens] and is_own and self._files.has(place.states):
                path.append(Following(place, own, len(own)))
                n_wanted = len(path)
                break
        n_tokens = sum(found.n_shared for found in path[:n_wanted])
        return path[:n_wanted] if n_tokens > n_stored else []

    def bring(self, prefixes: Prefixes, root: Node, path: Items[Following]) -> int | None:
        """Reads some of the pages of a path, then the states at its end, for whoever looks for
        them; how many files are left, None where they cannot be read."""
        node, n_bytes = root, 0
        for n, found in enumerate(path):
            tokens = packed(found.tokens)
            child = self._tree.child(node, tokens)
            if child is None:
                if n_bytes >= READ_AT_ONCE:
                    return len(path) - n
                read = partial(self.read, found.place, found.tokens)
                n_bytes += prefixes.take_in(node, tokens, prefixes.of_pages, read)
                child = self._tree.child(node, tokens)
            if child is None:
                return None
            node = child
        if all(node.units[group] != NO_PAGE for group in prefixes.of_states):
            return 0
        assert node.parent is not None
        read = partial(self.read, path[-1].place.states, path[-1].tokens)
        return 0 if prefixes.take_in(node.parent, node.tokens, prefixes.of_states, read) else None

    def read(self, place: Place, tokens: Items[int], units: Mapping[int, int]) -> int:
        """Reads a file into a page, or a slot, of each of its groups; its bytes, none where it is
        wrong or gone."""
        memory = [part for group, unit in units.items() for part in self._memory(group, unit)]
        if not self._files.read(place, tokens, memory):
            return 0
        self._files.touch([place])
        return len(packed(tokens)) + sum(part.nbytes for part in memory)

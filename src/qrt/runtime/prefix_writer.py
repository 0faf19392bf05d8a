"""A thread that writes pages and states of the prefix store to its files, behind the steps."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Final

from qrt.graph.batch import NO_PAGE
from qrt.runtime.prefix_files import Memory, Place, PrefixFiles
from qrt.runtime.prefix_tree import Node, Tree, unpacked
from qrt.runtime.slots import worth_keeping

MAX_WAITING: Final = 256
"""Sequences that wait to be written; what comes while so many wait is not."""
LAST_S: Final = 10.0
"""For so long a model that is closed waits for what is still written."""
_TRIM_EVERY: Final = 128
"""Files written until all are looked at anew: other processes write too."""


class PrefixWriter:
    """Writes the nodes of ended sequences; a page that is taken from its node meanwhile is not.

    A disk that fails ends the writing, and nothing else. The thread begins with the first sequence,
    and anew in a child process.
    """

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
        self._of_states = of_states
        self._thread: threading.Thread | None = None
        self._begin()

    def submit(self, node: Node) -> None:
        """Has a node and those above it written soon."""
        if self._pid != os.getpid():
            self._begin()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="qrt-prefixes", daemon=True)
            self._thread.start()
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(node)

    def close(self) -> None:
        """Waits a while until all is written; a second time does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._deadline = time.monotonic() + LAST_S
            self._waiting.put(None)
            thread.join(LAST_S + 5)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: queue.SimpleQueue[Node | None] = queue.SimpleQueue()
        self._thread = None
        self._deadline = float("inf")
        self._n_bytes = self._n_written = 0

    def _run(self) -> None:
        waiting = self._waiting
        try:
            self._n_bytes = self._files.trim()
            while (node := waiting.get()) is not None:
                self._write_path(node)
        except OSError:
            while waiting.get() is not None:
                """Lets go of what comes."""

    def _write_path(self, node: Node) -> None:
        """Writes what lacks a file, ancestors first, and counts the others as used."""
        path = []
        while node.parent is not None:
            path.append(node)
            node = node.parent
        path.reverse()
        wanted = [(place_of(each), each) for each in path]
        if self._of_states:
            wanted += [(place_of(each).states, each) for each in self._with_states(path)]
        for place, each in wanted:
            if not self._files.has(place) and not self._write(place, each):
                break
        self._files.touch([place for place, _ in wanted])

    def _with_states(self, path: list[Node]) -> list[Node]:
        """Those of a path whose states are kept."""
        having = [n for n in path if all(n.units[i] != NO_PAGE for i in self._of_states)]
        ends = worth_keeping([node.end for node in having], path[-1].end)
        return [node for node in having if node.end in ends]

    def _write(self, place: Place, node: Node) -> bool:
        """Whether all groups had a page, or a slot, of it until that was written."""
        groups = [i for i in range(len(node.units)) if (i in self._of_states) == place.of_states]
        units = [node.units[i] for i in groups]

        def is_still() -> bool:
            is_same = [node.units[i] for i in groups] == units
            return NO_PAGE not in units and is_same and node in self._tree

        if not is_still() or time.monotonic() > self._deadline:
            return False
        of_units = map(self._memory, groups, units)
        memory = [part for parts in of_units for part in parts]
        n_bytes = self._files.write(place, node.tokens, memory, is_still)
        self._n_bytes += n_bytes
        self._n_written += 1
        for other in [] if place.of_states else self._files.below(place.parent):
            if other.n_tokens < place.n_tokens:
                tokens = self._files.tokens(other)
                if tokens == unpacked(node.tokens)[: other.n_tokens]:
                    self._files.delete(other)
                    self._files.delete(other.states)
        if self._n_written % _TRIM_EVERY == 0 or self._files.is_too_much(self._n_bytes):
            self._n_bytes = self._files.trim()
        return n_bytes > 0


def place_of(node: Node) -> Place:
    """The file of a node."""
    assert node.parent is not None
    return Place(node.parent.digest, node.digest, len(unpacked(node.tokens)))

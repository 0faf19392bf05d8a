"""All sequences of an engine and the pools they share: what is stored, for whom, and what gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence as Items
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor
from qrt.errors import ClosedError
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV, StateGroup
from qrt.runtime.capacity import needs
from qrt.runtime.pages import Pages
from qrt.runtime.pool import Pool
from qrt.runtime.prefix_disk import READ_AT_ONCE, PrefixDisk
from qrt.runtime.prefix_files import PrefixFiles
from qrt.runtime.prefix_tree import Tree
from qrt.runtime.prefixes import Prefixes
from qrt.runtime.sequence import NEVER_READ, Sequence, State
from qrt.runtime.slots import Slots

Growth = tuple[Sequence, int]
"""A sequence, and how many rows a step appends to it."""


class Store:
    """Keeps every sequence strongly until it is released. Not thread-safe.

    A sequence changes only in `commit` and `cut`: whatever stops a step, `settle` leaves all of
    them as they were before it.
    """

    def __init__(
        self,
        groups: Items[StateGroup],
        executor: Executor,
        tree: Tree | None = None,
        files: PrefixFiles | None = None,
    ) -> None:
        """`tree` is to hold what is stored of prefixes, `files` keep it."""
        tree = Tree() if tree is None else tree
        self._groups = tuple(groups)
        self._max_rows = executor.settings.max_rows
        self.has_states = not all(isinstance(group, KV) for group in self._groups)
        self.pools = tuple(
            Pool(n, f"pages of {PAGE_LEN} positions" if isinstance(group, KV) else "state slots")
            for group, n in zip(self._groups, executor.settings.capacities, strict=True)
        )
        self.prefixes = Prefixes(self._groups, self.pools, tree)
        self._disk: PrefixDisk | None = None
        if files is not None:
            self._disk = PrefixDisk(files, tree, executor.page, self.prefixes.of_states)
        self._copies = [partial(executor.copy_page, group) for group in range(len(self._groups))]
        self._sequences: dict[Sequence, None] = {}
        self._n_steps = 0

    @property
    def n_free(self) -> list[int]:
        """Pages or slots of each group that no sequence refers to."""
        return [pool.n_free for pool in self.pools]

    def open(self) -> Sequence:
        """A new, empty, idle sequence."""
        seq = Sequence(tuple(map(_state, self._groups, self.pools)))
        self._sequences[seq] = None
        return seq

    def fork(self, seq: Sequence) -> Sequence:
        """A second sequence of the same tokens, which shares all pages and slots of `seq`."""
        self.check(seq)
        twin = Sequence(tuple(state.fork() for state in seq.states))
        twin.tokens = seq.tokens.copy()
        twin.last_step = seq.last_step
        twin.node = seq.node
        twin.n_encoded = seq.n_encoded
        self._sequences[twin] = None
        return twin

    def release(self, seq: Sequence) -> None:
        """Ends `seq`; a second time does nothing."""
        if seq in self._sequences:
            self.set_aside(seq)
            del self._sequences[seq]

    def check(self, seq: Sequence) -> None:
        """Raises ClosedError for a sequence that was released."""
        if seq not in self._sequences:
            raise ClosedError("the session is closed; open another with model.session()")

    def restorable(self, seq: Sequence, n_tokens: int) -> int:
        """The most tokens up to `n_tokens` that every state group can be cut to."""
        n, last = min(n_tokens, len(seq)), -1
        while n != last:
            last = n
            for state in seq.states:
                n = state.restorable(n)
        return n

    def cut(self, seq: Sequence, n_tokens: int) -> int:
        """Cuts `seq` to the nearest restorable length up to `n_tokens`, which it returns."""
        n = self.restorable(seq, n_tokens)
        seq.branch = min(seq.branch, n)
        if n < len(seq):
            if seq.node is not None:
                seq.node = seq.node.up_to(n)
            del seq.tokens[n:]
            for state in seq.states:
                state.finish(n)
        return n

    def set_aside(self, seq: Sequence) -> None:
        """Empties `seq`; what it had and shares stays stored while there is room."""
        node = self.prefixes.publish_end(seq)
        if self._disk is not None and node is not None:
            self._disk.writer.submit(node)
        self.cut(seq, 0)

    def write(self, seq: Sequence) -> None:
        """Stores the snapshots of a sequence that is idle now, and has its full pages written to
        files, if there are any."""
        self.prefixes.fill_snapshots(seq)
        if self._disk is not None and seq.node is not None:
            self._disk.writer.submit(seq.node)

    def close(self) -> None:
        """Waits a while for what is still written."""
        if self._disk is not None:
            self._disk.writer.close()

    def restore(self, seq: Sequence, tokens: Items[int], salt: str | None) -> int:
        """Cuts `seq` to what it has of `tokens`, or gives it what is stored of them, if that is
        more; how many are left or given, never all of them, nor a part of a text to be encoded.

        `salt`: with whom it shares from here on; None: with nobody, and nothing is reused.
        """
        root = None if salt is None else self.prefixes.root(salt)
        if root is None or (seq.node is not None and seq.node.space != root.space):
            self.set_aside(seq)
            seq.node = None
        if root is None:
            return 0
        seq.node = seq.node or root
        seq.may_read = self._disk is not None
        n = self.restorable(seq, min(seq.common_prefix(tokens), len(tokens) - 1))
        found = self.prefixes.find(root, tokens[:-1])
        if max(n, found.n_tokens) < seq.n_encoded:  # a text is read whole
            self.cut(seq, 0)
            seq.node = root
        elif found.n_tokens <= n:
            self.cut(seq, n)
            self.prefixes.publish(seq)
        else:
            self.cut(seq, 0)
            seq.node = root
            self.prefixes.adopt(seq, found.nodes, tokens[: found.n_tokens])
        seq.branch = max(seq.branch, found.n_alike // PAGE_LEN * PAGE_LEN)
        return len(seq)

    def catch_up(self, seq: Sequence, tokens: Items[int], salt: str | None) -> int:
        """Takes what was stored of `tokens` since `seq` began with them, and reads what files have
        of them; how many that are."""
        if salt is None:
            return 0
        n = len(seq)
        if self.prefixes.has_next(seq, tokens):
            self.restore(seq, tokens, salt)
        if seq.may_read and self.has_states:
            self._read_to_state(seq, tokens, salt)
        elif seq.may_read:
            self._read_on(seq, tokens)
        return len(seq) - n

    def _read_to_state(self, seq: Sequence, tokens: Items[int], salt: str) -> None:
        """Reads some of what files have up to the last states, and begins there once all is read;
        `seq` may read no more where it comes no nearer."""
        assert self._disk is not None
        root = self.prefixes.root(salt)
        path = self._disk.to_state(root, tokens[:-1], len(seq))
        n_left = self._disk.bring(self.prefixes, root, path) if path else None
        if n_left == 0:
            self.restore(seq, tokens, salt)
            seq.n_unread = NEVER_READ
        seq.may_read = bool(n_left is not None and 0 < n_left < seq.n_unread)
        if n_left:
            seq.n_unread = n_left

    def _read_on(self, seq: Sequence, tokens: Items[int]) -> None:
        """Reads some of what files have; where that is all, `seq` may read no more."""
        assert self._disk is not None
        n_bytes = 0
        while n_bytes < READ_AT_ONCE:
            seq.may_read = False
            if seq.node is None or self.short([(seq, PAGE_LEN)]):
                return
            found = self._disk.following(seq.node, tokens[:-1], len(seq))
            if found is None:
                return
            self.cut(seq, seq.node.end)
            pages = [int(table[-1]) for table in self.begin(seq, found.n_shared)]
            n_read = self._disk.read(found.place, found.tokens, dict(enumerate(pages)))
            if not n_read:
                for state in seq.states:
                    state.finish(len(seq))
                return
            self.commit(seq, found.tokens[: found.n_shared])
            n_bytes += n_read
            seq.may_read = found.n_shared == PAGE_LEN
            if not seq.may_read:
                return

    def short(self, rows: Items[Growth]) -> list[int]:
        """The groups that have too few free pages for a step that appends so."""
        at_most = sum([n_rows // PAGE_LEN + 2 for _, n_rows in rows])
        if min(self.n_free, default=at_most) >= at_most:
            return []
        needed = [0] * len(self.pools)
        for seq, n_rows in rows:
            start = len(seq.tokens)
            for group, state in enumerate(seq.states):
                needed[group] += state.needed(start, n_rows)
        return [group for group, pool in enumerate(self.pools) if needed[group] > pool.n_free]

    def make_room(self, rows: Items[Growth]) -> bool:
        """Lets go of snapshots, then of idle sequences, the longest idle first, as far as needed.

        Whether there is room now.
        """
        self._recount()
        for seq in sorted(self._sequences, key=lambda seq: seq.last_step):
            if not any(not isinstance(self._groups[group], KV) for group in self.short(rows)):
                break
            self.prefixes.fill_snapshots(seq)
            for state in seq.states:
                state.shed()
        for seq, _ in rows if self.short(rows) else ():
            self.prefixes.give_up_last(seq)
        growing = {seq for seq, _ in rows}
        idle = [seq for seq in self._sequences if seq.owner is None and seq not in growing]
        for seq in sorted(idle, key=lambda seq: seq.last_step):
            if not self.short(rows):
                break
            self.set_aside(seq)
        return not self.short(rows)

    def room(self, others: Iterable[Sequence] = ()) -> tuple[int, ...]:
        """Pages of each group that are free, or held by idle sequences and by `others`, and slots
        of snapshots."""
        givers = {*(seq for seq in self._sequences if seq.owner is None), *others}
        free = self.n_free
        for group, pool in enumerate(self.pools):
            held = Counter([page for seq in givers for page in seq.states[group].held])
            if not isinstance(self._groups[group], KV):
                for seq in self._sequences.keys() - givers:
                    held.update(seq.states[group].spare)
            free[group] += sum(pool.count(page) == n for page, n in held.items())
        return tuple(free)

    def shared(
        self, running: Iterable[Sequence], tokens: Items[int], salt: str | None
    ) -> tuple[int, ...]:
        """Pages of each group that a new sequence of `tokens` would share with those running; no
        slots: each writes its own."""
        counts = [0] * len(self.pools)
        if salt is None:
            return tuple(counts)
        found = self.prefixes.find(self.prefixes.root(salt), tokens[:-1])
        full = found.nodes[: found.n_tokens // PAGE_LEN]
        for number, group in enumerate(self._groups):
            if isinstance(group, KV):
                busy = {page for seq in running for page in seq.states[number].held}
                counts[number] = sum(node.units[number] in busy for node in full)
        return tuple(counts)

    def need(self, seq: Sequence | None, n_positions: int) -> tuple[int, ...]:
        """Pages of each group that `seq`, or a new sequence, lacks to hold so many positions."""
        needed = needs(self._groups, n_positions, self._max_rows)
        if seq is None:
            return needed
        states = zip(needed, seq.states, strict=True)
        return tuple(max(n - state.n_own, 0) for n, state in states)

    def begin(self, seq: Sequence, n_rows: int) -> tuple[NDArray[np.int32], ...]:
        """The tables of a step that appends `n_rows`. Raises BackendError if there is no room."""
        start = len(seq.tokens)
        states = zip(seq.states, self._copies, strict=True)
        return tuple([state.begin(start, n_rows, copy) for state, copy in states])

    def commit(self, seq: Sequence, tokens: Items[int], *, keep: bool = False) -> None:
        """Appends what a step has computed; with `keep`, a cut back to here stays possible."""
        self._n_steps += 1
        seq.last_step = self._n_steps
        seq.tokens.extend(tokens)
        n = len(seq.tokens)
        node = seq.node
        if node is not None and n - node.end >= PAGE_LEN:
            self.prefixes.publish(seq)  # before a window lets go of pages
        for state in seq.states:
            state.finish(n)
            if keep or n == seq.branch:
                state.keep(n)
        if self.has_states and len(tokens) > 1:
            self.prefixes.fill(seq, n)
        if n == seq.n_encoded:
            self.prefixes.publish_end(seq)

    def keep(self, seq: Sequence) -> None:
        """Makes a cut back to where `seq` stands possible, until the next such call."""
        for state in seq.states:
            state.keep(len(seq), lasts=False)

    def settle(self) -> None:
        """After a step that failed: every sequence has what its tokens need, the rest is free."""
        for seq in self._sequences:
            for state in seq.states:
                state.finish(len(seq))
        self._recount()

    def check_integrity(self) -> None:
        """Asserts that every page is free or counted once for each reference, and none missing."""
        self.prefixes.check_integrity()
        kept = self.prefixes.recount()
        for group, pool in enumerate(self.pools):
            pool.check_integrity(self._held(group), kept[group])
        for seq in self._sequences:
            for state in seq.states:
                state.check_integrity(len(seq))

    def _held(self, group: int) -> list[int]:
        return [page for seq in self._sequences for page in seq.states[group].held]

    def _recount(self) -> None:
        kept = self.prefixes.recount()
        for group, pool in enumerate(self.pools):
            pool.recount(self._held(group), kept[group])


def _state(group: StateGroup, pool: Pool) -> State:
    return Pages(pool, group.window) if isinstance(group, KV) else Slots(pool)

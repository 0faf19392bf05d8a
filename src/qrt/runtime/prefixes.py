"""The prefix store: pages and slots of sequences, found again by the tokens that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Items
from functools import partial
from typing import NamedTuple

from qrt.graph.batch import NO_PAGE, PAGE_LEN
from qrt.graph.state import KV, StateGroup
from qrt.runtime.pool import Pool, pages_for
from qrt.runtime.prefix_tree import MAX_NODES, Node, Tree, packed
from qrt.runtime.sequence import Sequence
from qrt.runtime.slots import Slots


class Found(NamedTuple):
    """The nodes of the longest stored prefix that can be gone on from, and its length.

    Of the last node, a part may be meant. `n_alike`: tokens that are stored alike, which are more
    where a windowed group or one of states has lost its part.
    """

    nodes: list[Node]
    n_tokens: int
    n_alike: int


class Prefixes:
    """What is stored of sequences, those that run among them, for others that begin alike.

    A node of the tree keeps pages and slots in their pools when no sequence refers to them any
    more; a pool that runs out of free ones takes those back that were let go first. Where a
    windowed group or one of states has lost its part, a shorter prefix is found. Not thread-safe.
    """

    def __init__(self, groups: Items[StateGroup], pools: Items[Pool], tree: Tree) -> None:
        self._groups = groups
        self._pools = pools
        self._tree = tree
        self.of_states = [i for i, group in enumerate(groups) if not isinstance(group, KV)]
        """The groups that have slots; `of_pages` are the others."""
        self.of_pages = [i for i in range(len(groups)) if i not in self.of_states]
        numbers = (*self.of_states, *self.of_pages)
        self._partial = [(i, groups[i]) for i in numbers if not _is_whole(groups[i])]
        self._nodes: list[dict[int, Node]] = [{} for _ in pools]  # of each page in its group
        for group, pool in enumerate(pools):
            pool.forget = partial(self._forget, group)

    def root(self, salt: str) -> Node:
        """Where sequences of this salt begin."""
        return self._tree.root(salt)

    def find(self, root: Node, tokens: Items[int]) -> Found:
        """What is stored of `tokens`."""
        wanted = packed(tokens)
        nodes, n_tokens = self._tree.path(root, wanted)
        self._tree.touch(nodes)
        for path, n in ((nodes, n_tokens), *self._shorter(root, nodes, n_tokens, wanted)):
            if all(_restores(group, i, path, n) for i, group in self._partial):
                return Found(path[: pages_for(n)], n, n_tokens)
        return Found([], 0, n_tokens)

    def _shorter(
        self, root: Node, nodes: list[Node], n_tokens: int, tokens: bytes
    ) -> Iterator[tuple[list[Node], int]]:
        """Shorter prefixes than `nodes`: of states the ends of others in the same page, then page
        borders."""
        full = nodes[: n_tokens // PAGE_LEN]
        if self.of_states:
            last = full[-1] if full else root
            rest = tokens[len(packed(range(last.end))) :]
            for child in sorted(last.children, key=lambda child: -child.end):
                if rest.startswith(child.tokens) and child.end < n_tokens:
                    yield [*full, child], child.end
        for node in reversed(full):
            if node.end < n_tokens:
                yield full, node.end

    def has_next(self, seq: Sequence, tokens: Items[int]) -> bool:
        """Whether the page of `tokens` is stored by now that `seq` is about to fill."""
        node = seq.node
        if node is None or not len(seq) - node.end < PAGE_LEN <= len(tokens) - node.end:
            return False
        page = packed(tokens[node.end : node.end + PAGE_LEN])
        return self._tree.child(node, page) is not None

    def next_page(self, seq: Sequence, tokens: Items[int]) -> bytes | None:
        """What names the page of `tokens` that `seq` fills next; None where it fills none."""
        node = seq.node
        if node is None or len(tokens) - node.end < PAGE_LEN:
            return None
        return self._tree.digest_below(node, packed(tokens[node.end : node.end + PAGE_LEN]))

    def adopt(self, seq: Sequence, nodes: Items[Node], tokens: Items[int]) -> None:
        """Gives `seq`, which is empty, a prefix that was found."""
        for group, state in enumerate(seq.states):
            state.adopt(len(tokens), [node.units[group] for node in nodes])
        seq.tokens = list(tokens)
        if nodes:
            seq.node = nodes[-1].up_to(len(tokens) // PAGE_LEN * PAGE_LEN)

    def publish(self, seq: Sequence) -> None:
        """Keeps the pages of `seq` that have become full."""
        n = len(seq) // PAGE_LEN * PAGE_LEN
        while seq.node is not None and seq.node.end < n:
            start = seq.node.end
            self._enter(seq, seq.tokens[start : start + PAGE_LEN])

    def publish_end(self, seq: Sequence) -> Node | None:
        """Keeps the partly filled last page of `seq` too, and its snapshots; the last node."""
        self.publish(seq)
        if seq.node is None:
            return None
        self.fill_snapshots(seq)
        rest = packed(seq.tokens[seq.node.end :])
        is_kept = any(child.tokens.startswith(rest) for child in seq.node.children)
        if rest and (self.of_states or not is_kept):
            node = self._child(seq.node, rest)
            if node is not None:
                self._fill(node, seq)
                return node
        return seq.node

    def fill(self, seq: Sequence, end: int) -> None:
        """Keeps what `seq` has of each group where the node lies that ends at `end`."""
        node = seq.node and seq.node.up_to(end)
        if node is not None and node.end == end and node in self._tree:
            self._fill(node, seq)

    def fill_snapshots(self, seq: Sequence) -> None:
        """Keeps the snapshots of `seq` at page borders."""
        for state in seq.states:
            if isinstance(state, Slots):
                for end in state.snapshots:
                    self.fill(seq, end)

    def give_up_last(self, seq: Sequence) -> None:
        """Forgets the page that `seq` is about to write on, so that it need not be copied."""
        for group, state in enumerate(seq.states):
            node = self._nodes[group].get(state.unit(len(seq)))
            if node is not None and len(seq) % PAGE_LEN and isinstance(self._groups[group], KV):
                self._remove(node)

    def take_in(
        self,
        parent: Node,
        tokens: bytes,
        groups: Items[int],
        read: Callable[[Mapping[int, int]], int],
    ) -> int:
        """Keeps what `read` puts into a page, or a slot, of each of the groups where the child of
        `parent` with these tokens lacks it; the bytes that it says, none if there is no room."""
        if not all(self._pools[group].n_free for group in groups):
            return 0
        units = {group: self._pools[group].alloc(1)[0] for group in groups}
        n_bytes = read(units)
        node = self._child(parent, tokens) if n_bytes else None
        for group, unit in units.items():
            if node is not None and node.units[group] == NO_PAGE:
                node.units[group] = unit
                self._nodes[group][unit] = node
                self._pools[group].keep(unit)
            self._pools[group].drop([unit])
        return n_bytes

    def clear(self) -> None:
        """Forgets everything."""
        for node in self._tree:
            self._remove(node)

    def recount(self) -> list[set[int]]:
        """The pages of each group that are kept, after an interrupt too."""
        self._nodes = [{} for _ in self._pools]
        for node in self._tree:
            units = enumerate(node.units)
            if any(unit == NO_PAGE and _is_whole(self._groups[group]) for group, unit in units):
                self._tree.remove(node)
                continue
            for group, unit in enumerate(node.units):
                if unit != NO_PAGE:
                    self._nodes[group][unit] = node
        return [set(nodes) for nodes in self._nodes]

    def check_integrity(self) -> None:
        """Asserts that each page is kept by the one node that has it, and that none lacks any."""
        found: list[dict[int, Node]] = [{} for _ in self._pools]
        for node in self._tree:
            assert node.parent is not None
            assert 0 < node.end - node.parent.end <= PAGE_LEN
            for group, unit in enumerate(node.units):
                may_lack = not _is_whole(self._groups[group])
                assert unit != NO_PAGE or may_lack
                if unit != NO_PAGE:
                    assert unit not in found[group]
                    found[group][unit] = node
        assert found == self._nodes

    def _enter(self, seq: Sequence, tokens: Items[int]) -> None:
        """Moves `seq` on to the node of these tokens, which keeps its pages; where others stand in
        their place, `seq` is stored no further."""
        assert seq.node is not None
        node = self._child(seq.node, packed(tokens))
        if node is not None:
            self._fill(node, seq)
        seq.node = node

    def _child(self, parent: Node, tokens: bytes) -> Node | None:
        """The child of `parent` with these tokens, made if there is none; None: not possible."""
        node = self._tree.at(parent, tokens)
        if node is not None and node.tokens == tokens:
            if node.parent is parent:
                return node
            self._remove(node)  # it was below a node that is gone
        elif node is not None:
            return None
        for other in [] if self.of_states else parent.children.copy():
            if tokens.startswith(other.tokens):
                self._remove(other)
        if len(self._tree) >= MAX_NODES:
            self._remove(self._tree.oldest)
        return self._tree.add(parent, tokens, len(self._pools))

    def _fill(self, node: Node, seq: Sequence) -> None:
        """A node keeps what it lacks and `seq` has; of the same pages twice, `seq` takes its."""
        for group, (pool, state) in enumerate(zip(self._pools, seq.states, strict=True)):
            own, unit = state.unit(node.end), node.units[group]
            if own in (NO_PAGE, unit):
                continue
            if unit != NO_PAGE:
                state.swap(node.end, unit)
                continue
            other = self._nodes[group].get(own)
            if other is not None:
                self._remove(other)
            node.units[group] = own
            self._nodes[group][own] = node
            pool.keep(own)

    def _forget(self, group: int, page: int) -> None:
        """A pool takes a page back."""
        node = self._nodes[group][page]
        if _is_whole(self._groups[group]):
            self._remove(node)
            return
        for each in self.of_states if group in self.of_states else (group,):
            self._let_go(node, each)

    def _remove(self, node: Node) -> None:
        self._tree.remove(node)
        for group in range(len(self._pools)):
            self._let_go(node, group)

    def _let_go(self, node: Node, group: int) -> None:
        unit = node.units[group]
        if unit != NO_PAGE:
            node.units[group] = NO_PAGE
            del self._nodes[group][unit]
            self._pools[group].let_go(unit)


def _is_whole(group: StateGroup) -> bool:
    """Whether a prefix needs all of its pages in a group."""
    return isinstance(group, KV) and group.window is None


def _restores(group: StateGroup, number: int, nodes: list[Node], n_tokens: int) -> bool:
    """Whether a sequence can go on behind so many tokens, by what the nodes have of a group that
    may lack some."""
    last = pages_for(n_tokens)
    if not isinstance(group, KV):
        return n_tokens == 0 or (
            nodes[last - 1].end == n_tokens and nodes[last - 1].units[number] != NO_PAGE
        )
    assert group.window is not None
    first = max(n_tokens + 1 - group.window, 0) // PAGE_LEN
    return all(node.units[number] != NO_PAGE for node in nodes[first:last])

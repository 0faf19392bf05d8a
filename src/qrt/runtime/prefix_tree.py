"""Prefixes of token sequences by their content: a tree whose nodes are pages of tokens."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from typing import Final
from weakref import WeakValueDictionary

from qrt.graph.batch import NO_PAGE, PAGE_LEN

Digest = Callable[[bytes], bytes]

_TYPE: Final = "I"
_SIZE: Final = array(_TYPE).itemsize
MIN_SHARED: Final = 8
"""Tokens for which a part of a page is used: whoever goes on from there has to copy the page."""
MAX_NODES: Final = 1 << 15
"""Nodes of a tree: as many pages, or tokens remembered where the pages themselves are gone."""


def packed(tokens: Items[int]) -> bytes:
    """Tokens as the tree compares them."""
    return array(_TYPE, tokens).tobytes()


def unpacked(tokens: bytes) -> list[int]:
    """What `packed` was given."""
    return array(_TYPE, tokens).tolist()


def sha256(data: bytes) -> bytes:
    """The digest that names a node."""
    return hashlib.sha256(data).digest()


class Node:
    """A page of tokens behind all those of its ancestors, and where it lies in each state group.

    Its digest is of its tokens and of the digest of its parent, so of all tokens up to its end. The
    last page of a sequence may be filled in part.
    """

    __slots__ = ("__weakref__", "children", "digest", "end", "parent", "space", "tokens", "units")

    def __init__(self, parent: Node | None, digest: bytes, tokens: bytes, units: list[int]) -> None:
        """A root has no parent and no tokens."""
        self.parent = parent
        self.digest = digest
        self.tokens = tokens
        self.units = units  # of each group the page, or the slot after its end, or NO_PAGE
        self.children: list[Node] = []
        self.space: bytes = digest if parent is None else parent.space
        """The digest of its root."""
        self.end: int = (0 if parent is None else parent.end) + len(tokens) // _SIZE
        """Positions up to its end."""

    def up_to(self, n_tokens: int) -> Node:
        """The nearest of itself and its ancestors that ends within so many positions."""
        node = self
        while node.end > n_tokens:
            assert node.parent is not None
            node = node.parent
        return node

    def shared(self, tokens: bytes) -> int:
        """How many of its first tokens `tokens` begins with."""
        own = self.tokens
        if own[:_SIZE] != tokens[:_SIZE]:
            return 0
        n = min(len(own), len(tokens))
        if own[:n] == tokens[:n]:
            return n // _SIZE
        pairs = zip(memoryview(own).cast(_TYPE), memoryview(tokens[:n]).cast(_TYPE), strict=False)
        return next(i for i, (one, other) in enumerate(pairs) if one != other)


class Tree:
    """Nodes by digest, those looked up last at the end. A digest is never trusted alone: tokens are
    compared, and a node counts as a child only of the very object that it was added to.
    """

    def __init__(self, key: bytes = b"", digest: Digest = sha256) -> None:
        """`key`: of all that the pages depend on beside tokens."""
        self._key = key
        self._digest = digest
        self._nodes: dict[bytes, Node] = {}
        self._roots: WeakValueDictionary[bytes, Node] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        """All nodes but roots, the longest not looked up first."""
        return iter(list(self._nodes.values()))

    def __contains__(self, node: Node) -> bool:
        return self._nodes.get(node.digest) is node

    @property
    def oldest(self) -> Node:
        """The node that was not looked up for the longest time."""
        return next(iter(self._nodes.values()))

    def root(self, salt: str) -> Node:
        """Where all sequences begin that share what they have: those of equal salt."""
        digest = self._digest(self._key + b"\0" + salt.encode("utf-8", "surrogatepass"))
        root = self._roots.get(digest)
        if root is None:
            root = self._roots[digest] = Node(None, digest, b"", [])
        return root

    def digest_below(self, parent: Node, tokens: bytes) -> bytes:
        """The digest of such a child of `parent`."""
        return self.digest_after(parent.digest, tokens)

    def digest_after(self, digest: bytes, tokens: bytes) -> bytes:
        """The digest of such a child of the node of `digest`."""
        return self._digest(digest + tokens)

    def at(self, parent: Node, tokens: bytes) -> Node | None:
        """What has the digest of such a child, which need not be that child."""
        return self._nodes.get(self.digest_below(parent, tokens))

    def child(self, parent: Node, tokens: bytes) -> Node | None:
        """The child of `parent` that has exactly these tokens."""
        node = self.at(parent, tokens)
        if node is None or node.parent is not parent or node.tokens != tokens:
            return None
        return node

    def path(self, root: Node, tokens: bytes) -> tuple[list[Node], int]:
        """The nodes that `tokens` begins with, and how many tokens they share with it.

        Of the last node, the tokens may share a part.
        """
        node, nodes, n_pages = root, list[Node](), len(tokens) // (PAGE_LEN * _SIZE)
        while len(nodes) < n_pages:
            child = self.child(node, _page(tokens, node.end))
            if child is None:
                break
            nodes.append(child)
            node = child
        rest = _page(tokens, node.end)
        n_shared, best = max(
            ((child.shared(rest), i) for i, child in enumerate(node.children)), default=(0, 0)
        )
        if n_shared < MIN_SHARED:
            return nodes, node.end
        return [*nodes, node.children[best]], node.end + n_shared

    def touch(self, nodes: Items[Node]) -> None:
        """Counts as looked up last."""
        for node in nodes:
            if node in self:
                self._nodes[node.digest] = self._nodes.pop(node.digest)

    def add(self, parent: Node, tokens: bytes, n_groups: int) -> Node:
        """A new child of `parent`, with no pages yet; nothing has its digest."""
        digest = self.digest_below(parent, tokens)
        assert digest not in self._nodes
        node = Node(parent, digest, tokens, [NO_PAGE] * n_groups)
        self._nodes[digest] = node
        parent.children.append(node)
        return node

    def remove(self, node: Node) -> None:
        """Forgets a node of the tree; those below it are found no more."""
        del self._nodes[node.digest]
        assert node.parent is not None
        if node in node.parent.children:
            node.parent.children.remove(node)


def _page(tokens: bytes, start: int) -> bytes:
    return tokens[start * _SIZE : (start + PAGE_LEN) * _SIZE]

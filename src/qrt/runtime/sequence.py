"""A sequence: tokens whose state is stored, and where in each state group it lies."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Final

from qrt.runtime.pages import Pages
from qrt.runtime.prefix_tree import Node
from qrt.runtime.slots import Slots

State = Pages | Slots
"""What a sequence holds of one state group."""


NEVER_READ: Final = 1 << 62
"""More files than there are."""


class Sequence:
    """Tokens that have been computed, token i at position i. Only the engine changes it.

    It has an owner while something runs on it; without one it is idle, and keeps its state for
    reuse until another sequence needs the room.
    """

    __slots__ = (
        "branch", "last_step", "may_read", "n_encoded", "n_unread", "node", "owner", "scales",
        "states", "tokens",
    )  # fmt: skip

    def __init__(self, states: tuple[State, ...]) -> None:
        self.tokens: list[int] = []
        self.states = states
        self.scales: tuple[float, ...] = ()
        """How much of each adapter all of it was computed with."""
        self.n_encoded = 0
        """Its first tokens, those of a text that an encoder reads whole."""
        self.owner: object | None = None
        self.last_step = 0
        self.may_read = False
        """Whether files may have more of what it is to compute."""
        self.n_unread = NEVER_READ
        """Files that are left to be read up to the states that it waits for."""
        self.branch = 0
        """The page border up to which others have begun alike, where its states are to be kept."""
        self.node: Node | None = None
        """The last of its pages that the prefix store has; None: it shares nothing."""

    def __len__(self) -> int:
        return len(self.tokens)

    def __bool__(self) -> bool:
        return True

    def common_prefix(self, tokens: Items[int]) -> int:
        """How many first tokens of this sequence and of `tokens` are the same."""
        n = min(len(self.tokens), len(tokens))
        if self.tokens[:n] == tokens[:n]:
            return n
        return next((i for i in range(n) if self.tokens[i] != tokens[i]), n)

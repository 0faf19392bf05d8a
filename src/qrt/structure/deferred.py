"""A constraint that begins where the thoughts of a reply end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.constraint import Constraint
from qrt.structure.vocabulary import Vocabulary

_TAIL: Final = 128
"""Bytes at the end of thoughts in which what closes them stands."""


@dataclass(frozen=True)
class Deferral:
    """How a reply thinks before its answer.

    is_open: the prompt has begun the thoughts; else one of the tokens `opening` may, first of all.
    closing: matches what has been said where thoughts end with it.
    """

    is_open: bool
    opening: frozenset[int]
    closing: re.Pattern[bytes]


class Thinking:
    """Follows the tokens of a reply as far as its answer."""

    def __init__(self, deferral: Deferral, token_bytes: Callable[[int], bytes]) -> None:
        self._deferral = deferral
        self._token_bytes = token_bytes
        self.tail = b""
        """The end of what was thought."""
        self.opened_by: int | None = None
        """The token of the reply that began the thoughts."""
        self.is_open = deferral.is_open
        self.may_open = not deferral.is_open and bool(deferral.opening)

    def push(self, token: int) -> bool:
        """Takes the next token; whether it belongs to the thoughts."""
        opens = self.may_open and token in self._deferral.opening
        self.may_open = False
        if opens:
            self.is_open, self.opened_by = True, token
            return True
        if not self.is_open:
            return False
        self.tail = (self.tail + self._token_bytes(token))[-_TAIL:]
        self.is_open = self._deferral.closing.search(self.tail) is None
        return True


class Deferred:
    """A `Constraint`: anything but an end while the reply thinks, then another constraint."""

    def __init__(self, inner: Constraint, deferral: Deferral, vocabulary: Vocabulary) -> None:
        self._inner = inner
        self._vocabulary = vocabulary
        self._thinking = Thinking(deferral, vocabulary.tokens.__getitem__)
        self._opening = vocabulary.bits(deferral.opening)

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow, so that the answer ends here."""
        return not self._thinking.is_open and self._inner.is_complete

    def mask(self) -> NDArray[np.uint32]:
        """(ceil(n_vocab / 32),): the tokens that may come next, as bits."""
        if self._thinking.is_open:
            return ~self._vocabulary.ends
        mask = self._inner.mask()
        return mask | self._opening if self._thinking.may_open else mask

    def forced(self) -> list[int]:
        """The tokens that must come next."""
        waits = self._thinking.is_open or self._thinking.may_open
        return [] if waits else self._inner.forced()

    def accept(self, token: int) -> None:
        """Puts a token behind the reply. Raises InputError for one that may not come next."""
        if not self._thinking.push(token):
            self._inner.accept(token)

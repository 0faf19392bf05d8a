"""An end to thoughts that have used up their tokens."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.runtime.constraint import Constraint
from qrt.structure.deferred import Deferral, Thinking


@dataclass(frozen=True)
class Pace:
    """How long a reply may think, and how that is ended.

    n_tokens: of thoughts at most. deferral: how it thinks. begun: matches what has been said where
    thoughts begin, behind whatever heads them. close: the tokens that end thoughts, by the
    token that began them, those of the prompt under None. token_bytes: of each token.
    """

    n_tokens: int
    deferral: Deferral
    begun: re.Pattern[bytes]
    close: Mapping[int | None, list[int]]
    token_bytes: Callable[[int], bytes]

    def __call__(self, inner: Constraint | None) -> Paced:
        """For one answer, that is held to `inner` besides."""
        return Paced(self, inner)


class Paced:
    """A `Constraint` that forces the end of thoughts, and else what another says, if there is one;
    without one, no mask is asked for."""

    def __init__(self, pace: Pace, inner: Constraint | None) -> None:
        self._pace = pace
        self._inner = inner
        self._thinking = Thinking(pace.deferral, pace.token_bytes)
        self._has_begun = pace.begun.search(b"") is not None
        self._n_left = pace.n_tokens

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow, so that the answer ends here."""
        return self._inner is not None and self._inner.is_complete

    def mask(self) -> NDArray[np.uint32]:
        """(ceil(n_vocab / 32),): the tokens that may come next, as bits."""
        assert self._inner is not None
        return self._inner.mask()

    def forced(self) -> list[int]:
        """The tokens that must come next."""
        thinking = self._thinking
        is_over = thinking.is_open and self._has_begun and self._n_left <= 0
        if is_over and not _is_amid_character(thinking.tail):
            return list(self._pace.close[thinking.opened_by])
        return [] if self._inner is None else self._inner.forced()

    def accept(self, token: int) -> None:
        """Puts a token behind the reply. Raises InputError for one that may not come next."""
        thinking = self._thinking
        self._n_left -= thinking.is_open and self._has_begun
        thinking.push(token)
        if thinking.is_open and not self._has_begun:
            self._has_begun = self._pace.begun.search(thinking.tail) is not None
        if self._inner is not None:
            self._inner.accept(token)


def _is_amid_character(tail: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(tail[-4:])
    return bool(decoder.getstate()[0])

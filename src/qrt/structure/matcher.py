"""One answer's way along a compiled grammar."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.structure.vocabulary import Vocabulary


class Matcher:
    """A `Constraint` by llguidance."""

    def __init__(self, matcher: Any, vocabulary: Vocabulary) -> None:
        """matcher: an LLMatcher of its own, for this vocabulary."""
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._ahead: list[int] = []  # forced tokens, the next one last

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow, so that the answer ends here."""
        return bool(self._matcher.is_stopped())

    def mask(self) -> NDArray[np.uint32]:
        """(ceil(n_vocab / 32),): the tokens that may come next, as bits."""
        vocabulary = self._vocabulary
        if self.is_complete:
            return vocabulary.ends
        words = np.empty(vocabulary.n_words, np.uint32)
        self._matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        self._check()
        return vocabulary.mask(words)

    def forced(self) -> list[int]:
        """The tokens that must come next."""
        if not self._ahead:
            self._ahead = self._matcher.compute_ff_tokens()[::-1]
            self._check()
        return self._ahead[::-1]

    def accept(self, token: int) -> None:
        """Puts a token behind the answer. Raises InputError for one that may not come next."""
        self._matcher.consume_token(token)
        self._check()
        if self._ahead:
            self._ahead.pop()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InputError(wrong(self._matcher))


def wrong(matcher: Any) -> str:
    """What is wrong with a grammar, without the text of it that llguidance shows."""
    message: str = matcher.get_error().strip().partition("\n")[0]
    if message.startswith("NoExtension"):
        message = "no text can follow it"
    return f"the grammar is wrong: {message}"

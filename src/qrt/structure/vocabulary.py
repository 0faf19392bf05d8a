"""A model's vocabulary as llguidance takes it: the bytes of each token, and which are marks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.text import Tokenizer

_WORD: Final = 32
_ANCHOR: Final = "\n"
"""Text that others follow; few vocabularies merge it with what does."""

_MOST_CANONICAL: Final = 4096
"""Characters; a text that is longer is cut into the longest tokens, which is faster."""


def library() -> Any:
    """The package llguidance. Raises InputError where it is not installed."""
    try:
        import llguidance
    except ImportError:
        raise InputError(
            "grammars and response_format need the package llguidance; pip install 'qrt[grammar]'"
        ) from None
    return llguidance


class Vocabulary:
    """What llguidance is told of a tokenizer.

    Marks (turns, roles, ends, `<think>` ...) are never text: a grammar gets one by naming it, in
    Lark as `<|name|>`. That an answer may end stands in a bit of its own behind all tokens.
    """

    is_tokenizer_wrapper = True  # what llguidance asks of an object that it takes for a tokenizer
    bos_token_id = None
    eos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.special_token_ids = tokenizer.mark_ids()
        self.tokens = tokenizer.all_bytes()
        self._marks = frozenset(self.special_token_ids)
        self.ll: Any = library().LLTokenizer(self)
        self._n_vocab = tokenizer.n_vocab
        self.n_words = self._n_vocab // _WORD + 1
        """Words of a mask as llguidance fills it."""
        self.ends = self.bits(tokenizer.eog_ids)
        """The mask of the tokens that end an answer."""

    def bits(self, tokens: Iterable[int]) -> NDArray[np.uint32]:
        """(ceil(n_vocab / 32),): the mask of these tokens."""
        mask = np.zeros(-(-self._n_vocab // _WORD), np.uint32)
        for token in tokens:
            mask[token // _WORD] |= np.uint32(1 << token % _WORD)
        return mask

    def mask(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """The words of llguidance's mask, in which the tokens that end an answer stand for the bit
        behind all tokens."""
        at, bit = divmod(self._n_vocab, _WORD)
        may_end = bool(words[at] >> bit & 1)
        words[at] &= np.uint32((1 << bit) - 1)
        mask = words[: self.ends.size]
        if may_end:
            mask |= self.ends
        return mask

    def __call__(self, text: str) -> list[int]:
        """The tokens of text that follows other text, as the model's tokenizer cuts it."""
        for before in ("", _ANCHOR) if len(text) <= _MOST_CANONICAL else ():
            spans = [(before + text, False)]
            ids = self._behind(text, self._tokenizer.tokenize_spans(spans, add_special=False))
            if ids is not None:
                return ids
        greedy: list[int] = self.ll.greedy_tokenize(text)
        return greedy

    def _behind(self, text: str, ids: list[int]) -> list[int] | None:
        """The last of the tokens, which spell `text` alone; None: none do, or there are marks."""
        wanted = text.encode()
        at, spelled = len(ids), b""
        while at > 0 and len(spelled) < len(wanted):
            at -= 1
            spelled = self.tokens[ids[at]] + spelled
        is_text = spelled == wanted and self._marks.isdisjoint(ids[at:])
        return ids[at:] if is_text else None

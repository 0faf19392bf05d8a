"""WordPiece vocabularies (BERT): words, each cut from the left into the longest known pieces."""

from __future__ import annotations

import re
import threading
from functools import cached_property

from qrt.text import unicode
from qrt.text.decode import SPACE
from qrt.text.longest import Pieces
from qrt.text.vocab import Vocab

_MAX_CACHED = 32 * 1024
_CHINESE = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f]"
)


class BertText(dict[str, str]):
    """What each character becomes: white space one space, control characters nothing, punctuation
    and Chinese characters words of their own; as told without accents and in lower case.

    Filled as characters are met. (`str.translate` takes quadratic time where text grows.)
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool) -> None:
        self._lowercase = lowercase
        self._strip_accents = strip_accents

    def __missing__(self, char: str) -> str:
        if len(self) >= _MAX_CACHED:
            self.clear()
        found = self[char] = self._of(char)
        return found

    def _of(self, char: str) -> str:
        if self._strip_accents:
            char = unicode.base(char)
        if char in unicode.WHITE_SPACE:
            return " "
        group = unicode.group(char)
        if char in "\0\ufffd" or group == "C" or (self._strip_accents and group == "M"):
            return ""
        plain = unicode.lower(char) if self._lowercase else char
        alone = group == "P" or (group == "S" and char.isascii()) or _CHINESE.match(char)
        return f" {plain} " if alone else plain


class WpmEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(
        self, vocab: Vocab, allowed: frozenset[int], unk_id: int | None, normalizer: BertText
    ) -> None:
        """`allowed` are the tokens that text can become; `unk_id` stands for a word that cannot be
        cut into them."""
        self._vocab = vocab
        self._allowed = allowed
        self._unknown = [] if unk_id is None else [unk_id]
        self._normalizer = normalizer
        self._words: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Read the pieces now, for example while the weights are read."""
        with self._lock:
            _ = self._pieces

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        self.prepare()
        ids: list[int] = []
        for word in "".join(map(self._normalizer.__getitem__, text)).split():
            found = self._words.get(word)
            if found is None:
                found = self._encode_word(SPACE + word)
                if len(self._words) >= _MAX_CACHED:
                    self._words.clear()
                self._words[word] = found
            ids += found
        return ids

    def own_bytes(self) -> bytes:
        """None: a word that is not known is one token, whatever its length."""
        return b""

    def _encode_word(self, word: str) -> list[int]:
        ids: list[int] = []
        at = 0
        while at < len(word):
            found = next(self._pieces.at(word, at), None)
            if found is None:
                return self._unknown
            at += found[0]
            ids.append(found[1])
        return ids

    @cached_property
    def _pieces(self) -> Pieces[str]:
        pieces = self._vocab.pieces.to_list()
        return Pieces(
            {pieces[i].decode("utf-8", "replace"): i for i in sorted(self._allowed) if pieces[i]}
        )

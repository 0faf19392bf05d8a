"""BPE of the words between white space, which is lost (`tokenizer.ggml.model` is `whitespace`)."""

from __future__ import annotations

import re

from qrt.text import unicode
from qrt.text.bpe import BpeEncoder

_WORD = re.compile(f"[^{unicode.WHITE_SPACE}]+")


class WhitespaceEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(self, words: BpeEncoder, *, lowercase: bool) -> None:
        self._words = words
        self._lowercase = lowercase

    def prepare(self) -> None:
        """Load what `encode` needs now, for example while the weights are read."""
        self._words.prepare()

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        if self._lowercase:
            text = "".join(map(unicode.lower, text))
        return [token for word in _WORD.findall(text) for token in self._words.encode(word)]

    def own_bytes(self) -> bytes:
        """None: white space and upper case are lost."""
        return b""

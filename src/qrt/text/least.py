"""A lower bound on the number of tokens of a text, found without tokenizing it."""

from __future__ import annotations

import string

from qrt.text.strings import StringTable

_ALL = bytes(range(256))
_WORD = (string.ascii_letters + string.digits).encode()
_FIRST = bytes(byte for byte in _ALL if not 0x80 <= byte < 0xC0)
"""Bytes that begin a character of UTF-8."""


class LeastTokens:
    """Counts bytes of a text, and divides by what one token can hold of them.

    All bytes are counted, then letters and digits of ASCII alone: tokens of many spaces or dashes
    are common, tokens of as many letters are not.
    """

    def __init__(
        self, pieces: StringTable, longest_special: int, kept: bytes, *, byte_level: bool
    ) -> None:
        """`kept` are the bytes that no text loses; `longest_special` is in bytes. In a `byte_level`
        vocabulary each character of another token stands for a byte."""
        most = max(1, longest_special, pieces.most(_FIRST if byte_level else _ALL))
        words = bytes(set(kept) & set(_WORD))
        self._limits = (
            (_others(kept), most),
            (_others(words), max(1, pieces.most(_WORD))),
        )

    def count(self, text: bytes) -> int:
        """No tokenization of `text` has fewer tokens."""
        return max(-(-len(text.translate(None, others)) // most) for others, most in self._limits)


def _others(wanted: bytes) -> bytes:
    return bytes(set(_ALL) - set(wanted))

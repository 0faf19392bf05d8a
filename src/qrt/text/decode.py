"""From token ids back to text, never half a UTF-8 character at a time."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import NamedTuple

from qrt.text.special import Kind

SPACE = "▁"
"""U+2581, which stands for a space in sentencepiece vocabularies."""


def _byte_alphabet() -> dict[int, str]:
    """The character that stands for each byte in byte-level BPE vocabularies (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + i) for i, byte in enumerate(others)}


BYTE_OF_CHAR: Mapping[str, int] = {char: byte for byte, char in _byte_alphabet().items()}

TokenBytes = Callable[[int, bool], bytes]
"""The bytes of a token id; the flag says whether control tokens are shown."""


def byte_level_bytes(piece: bytes) -> bytes:
    """The bytes that a byte-level BPE piece stands for; other characters stand for themselves."""
    text = piece.decode("utf-8", "surrogateescape")
    try:
        return bytes([BYTE_OF_CHAR[char] for char in text])
    except KeyError:
        return b"".join(
            bytes([BYTE_OF_CHAR[char]])
            if char in BYTE_OF_CHAR
            else char.encode("utf-8", "surrogateescape")
            for char in text
        )


def spaced_bytes(piece: bytes) -> bytes:
    """The bytes that a sentencepiece piece stands for."""
    return piece.replace(SPACE.encode(), b" ")


class Spelling(NamedTuple):
    """How the pieces of a vocabulary spell bytes."""

    bytes_of: Callable[[bytes], bytes]
    of_all: bool = False  # tokens of every type are spelled so, and shown; else normal ones alone


BYTE_LEVEL = Spelling(byte_level_bytes)
SPACED = Spelling(spaced_bytes)
PLAIN = Spelling(bytes, of_all=True)


def shows(kind: int) -> bool:
    """Whether tokens of this kind are part of the text rather than marks in it."""
    return kind in (Kind.NORMAL, Kind.USER_DEFINED, Kind.BYTE)


class StreamDecoder:
    """Decodes tokens as they come.

    Everything that `push` returned, followed by `flush`, is the decoding of all tokens at once;
    bytes that are not UTF-8 become U+FFFD.
    """

    def __init__(self, token_bytes: TokenBytes, *, special: bool, strip_space: bool) -> None:
        self._token_bytes = token_bytes
        self._special = special
        self._strip_space = strip_space
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that becomes complete with `token`. Raises InputError for an unknown id."""
        data = self._token_bytes(token, self._special)
        if data and self._strip_space:
            data = data.removeprefix(b" ")
            self._strip_space = False
        return self._utf8.decode(data)

    def flush(self) -> str:
        """What is left when no token follows: nothing, or U+FFFD for a character cut short."""
        return self._utf8.decode(b"", final=True)

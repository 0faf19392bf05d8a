"""RWKV vocabularies: the longest token that matches, byte for byte, from the left."""

from __future__ import annotations

import re
import threading
from functools import cached_property

from qrt.text.decode import Spelling
from qrt.text.longest import Pieces
from qrt.text.vocab import Vocab

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def unescaped(piece: bytes) -> bytes:
    r"""The bytes that a piece stands for: \t, \n, \r, \x41, and any other character for itself."""

    def character(found: re.Match[bytes]) -> bytes:
        code, letter = found.groups()
        return bytes([int(code, 16)]) if code else _LETTERS.get(letter, letter)

    return _ESCAPE.sub(character, piece) if b"\\" in piece else piece


ESCAPED = Spelling(unescaped, of_all=True)


class RwkvEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(self, vocab: Vocab, allowed: frozenset[int], unk_id: int | None) -> None:
        """`allowed` are the tokens that text can become; `unk_id` stands for other bytes."""
        self._vocab = vocab
        self._allowed = allowed
        self._unknown = [] if unk_id is None else [unk_id]
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Read the pieces now, for example while the weights are read."""
        with self._lock:
            _ = self._pieces

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        self.prepare()
        data, pieces = text.encode(), self._pieces
        ids: list[int] = []
        at = 0
        while at < len(data):
            found = next(pieces.at(data, at), None)
            if found is None:
                ids += self._unknown
                at += 1
            else:
                at += found[0]
                ids.append(found[1])
        return ids

    def own_bytes(self) -> bytes:
        """The bytes that have a token each."""
        pieces = self._pieces
        return bytes(b for b in range(256) if next(pieces.at(bytes([b]), 0), None) is not None)

    @cached_property
    def _pieces(self) -> Pieces[bytes]:
        pieces = self._vocab.pieces.to_list()
        return Pieces({unescaped(pieces[i]): i for i in sorted(self._allowed) if pieces[i]})

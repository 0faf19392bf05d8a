"""The precompiled charsmap of sentencepiece: texts and what they are replaced by.

A little-endian uint32 with the size in bytes of a double-array trie, its units, then the
replacements, each ended by a zero byte. A unit has the byte that leads to it in bits 0-7, whether a
text ends there in bit 8, the offset of its children in bits 10-30, in units of 256 if bit 9 is set;
one with bit 31 has the place of a replacement in bits 0-30 (Yata, darts-clone).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from qrt.errors import VocabError

_MAX_CACHED = 16 * 1024
_LONGEST = 64  # characters of a text to replace; bounds the time where a trie has cycles
_VALUE = 1 << 31

Place = tuple[int | None, str | None]
"""The unit from which a text may go on, and the replacement of what was read; None: there is none.
"""
Trie = dict[str, "Trie"]


class CharsMap:
    """Replaces the longest text it knows at each place, from the left."""

    def __init__(self, data: bytes, user_defined: Iterable[str], where: str) -> None:
        """`data` may be empty: nothing is replaced. What begins like one of `user_defined` stays
        as it is, as far as it is alike. Raises VocabError."""
        n_bytes = int.from_bytes(data[:4], "little")
        if data and (n_bytes % 4 or not 4 <= n_bytes < len(data) - 4 or data[-1] != 0):
            raise VocabError(
                f"{where}: tokenizer.ggml.precompiled_charsmap is damaged: {len(data)} bytes with"
                f" a trie of {n_bytes}"
            )
        units = np.frombuffer(data, "<u4", n_bytes // 4, min(4, len(data)))
        self._units = units.astype(np.uint32).data
        self._replacements = data[4 + n_bytes :]
        self._root = self._children(0) if data else None
        self._first: dict[str, Place] = {}
        self._where = where
        self._kept: Trie = {}
        for text in user_defined:
            trie = self._kept
            for char in text:
                trie = trie.setdefault(char, {})

    def normalize(self, text: str) -> str:
        """`text` with its replacements. Raises VocabError where the trie leads nowhere."""
        parts: list[str] = []
        at = 0
        while at < len(text):
            end = self._end_of_kept(text, at)
            if end > at:
                parts.append(text[at:end])
                at = end
                continue
            node, replacement = self._after_first(text[at])
            end = i = at + 1
            while node is not None and i < min(len(text), at + _LONGEST):
                node, found = self._step(node, text[i])
                i += 1
                if found is not None:
                    replacement, end = found, i
            parts.append(text[at:end] if replacement is None else replacement)
            at = end
        return "".join(parts)

    def _end_of_kept(self, text: str, at: int) -> int:
        trie = self._kept
        while at < len(text) and text[at] in trie:
            trie = trie[text[at]]
            at += 1
        return at

    def _after_first(self, char: str) -> Place:
        found = self._first.get(char)
        if found is None:
            found = (None, None) if self._root is None else self._step(self._root, char)
            if len(self._first) >= _MAX_CACHED:
                self._first.clear()
            self._first[char] = found
        return found

    def _step(self, node: int, char: str) -> Place:
        """From the children of a unit along the bytes of `char`."""
        replacement = None
        for byte in char.encode():
            node ^= byte
            unit = self._at(node)
            if not byte or unit & (_VALUE | 0xFF) != byte:
                return None, None
            ends = unit >> 8 & 1
            node ^= self._children(node)
            replacement = self._replacement(self._at(node) & (_VALUE - 1)) if ends else None
        return node, replacement

    def _children(self, node: int) -> int:
        unit = self._at(node)
        return unit >> 10 << ((unit & 1 << 9) >> 6)

    def _at(self, node: int) -> int:
        if node >= len(self._units):
            raise VocabError(
                f"{self._where}: tokenizer.ggml.precompiled_charsmap is damaged: its trie leads"
                f" to unit {node} of {len(self._units)}"
            )
        return self._units[node]

    def _replacement(self, at: int) -> str:
        end = self._replacements.find(b"\0", at)
        if end < 0:
            raise VocabError(
                f"{self._where}: tokenizer.ggml.precompiled_charsmap is damaged: a replacement at"
                f" {at} of {len(self._replacements)} bytes"
            )
        return self._replacements[at:end].decode("utf-8", "replace")

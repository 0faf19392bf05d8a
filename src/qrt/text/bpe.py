"""BPE over bytes, or over characters.

Two engines give the same tokens. For short texts merges are looked up in a compact table, which
stands within a tenth of a second; for long ones the Hugging Face `tokenizers` engine, which runs
several times as fast but first takes about half a second and 100 MB to build, is worth its price.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from qrt.errors import VocabError
from qrt.text.decode import BYTE_OF_CHAR, SPACE
from qrt.text.pretokenizers import PRE_TOKENIZERS, PreTokenizer, engine_regex
from qrt.text.strings import StringTable
from qrt.text.vocab import Vocab, read_strings

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine
    from tokenizers.pre_tokenizers import Sequence as Splitter

LONG_TEXT = 24 * 1024
"""Characters from which on the engine is built; the table takes about 0.2 s for as many."""
_MAX_CACHED = 32 * 1024

_BYTE_CHARS = {byte: char.encode() for char, byte in BYTE_OF_CHAR.items()}
_BYTE_NAMES = {byte: b"<0x%02X>" % byte for byte in range(256)}
_LINE_FEEDS = re.compile("(\n+)")

Pair = tuple[str, str]


def pre_tokenizer(metadata: Mapping[str, object], where: str) -> PreTokenizer:
    """The family named by `tokenizer.ggml.pre`; "default", with a warning, for no or an unknown
    name. Raises VocabError for what is no name.
    """
    model = metadata.get("tokenizer.ggml.model")
    name = model if model == "gemma4" else metadata.get("tokenizer.ggml.pre", "")
    if not isinstance(name, str):
        raise VocabError(f"{where}: tokenizer.ggml.pre is {name!r}; expected a name")
    family = PRE_TOKENIZERS.get(name)
    if family is None:
        what = f"unknown pre-tokenizer {name[:40]!r}" if name else "no pre-tokenizer"
        logging.getLogger("qrt").warning(
            f"{where}: {what} in tokenizer.ggml.pre; text is cut into words as for 'default', so"
            " tokens may not be those that the model was trained with, and answers may be worse"
        )
        return PRE_TOKENIZERS["default"]
    return family


class BpeEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(
        self, metadata: Mapping[str, object], vocab: Vocab, family: PreTokenizer, where: str
    ) -> None:
        """Reads the merges; the engine is made when first needed. Raises VocabError."""
        self._merges = StringTable(read_strings(metadata, "tokenizer.ggml.merges", where))
        for bad in self._merges.without_inside(b" ")[:1]:
            raise VocabError(
                f"{where}: tokenizer.ggml.merges[{bad}] is {self._merges[bad][:20]!r};"
                " expected two tokens with a space between"
            )
        self._pieces = vocab.pieces
        self._family = family
        self._where = where
        self._words: dict[str, list[int]] = {}
        self._ranks: dict[Pair, int] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Load what `encode` needs now, for example while the weights are read."""
        with self._lock:
            _ = self._splitter

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        if self._family.escapes_space:
            text = text.replace(" ", SPACE)
        if len(text) >= LONG_TEXT:
            return self._encode_long(text)
        with self._lock:
            splitter = self._splitter
        ids: list[int] = []
        for word, _ in splitter.pre_tokenize_str(text):
            found = self._words.get(word)
            if found is None:
                found = self._encode_word(word)
                if len(self._words) >= _MAX_CACHED:
                    self._words.clear()
                self._words[word] = found
            ids += found
        return ids

    def own_bytes(self) -> bytes:
        """The bytes that have a token each."""
        names = _BYTE_CHARS if self._family.byte_level else _BYTE_NAMES
        return bytes(byte for byte, name in names.items() if self._pieces.find(name) >= 0)

    @cached_property
    def _splitter(self) -> Splitter:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        steps: list[Split | ByteLevel] = [
            Split(Regex(engine_regex(split)), "isolated") for split in self._family.splits
        ]
        if self._family.byte_level:
            steps.append(ByteLevel(add_prefix_space=False, use_regex=False))
        return Sequence(steps)

    def _encode_word(self, word: str) -> list[int]:
        family = self._family
        if family.ignore_merges or (family.whole_newlines and not word.strip("\n")):
            whole = self._pieces.find(word.encode())
            if whole >= 0:
                return [whole]
        found = (self._encode_piece(piece.encode()) for piece in self._merge(word))
        return [token for tokens in found for token in tokens if token >= 0]

    def _encode_piece(self, piece: bytes) -> list[int]:
        """The token of `piece`, or those of its bytes; -1 where there is none."""
        token = self._pieces.find(piece)
        if token >= 0 or self._family.byte_level:
            return [token]
        return [self._pieces.find(_BYTE_NAMES[byte]) for byte in piece]

    def _merge(self, word: str) -> list[str]:
        """Merge the characters of `word`, the pair of lowest rank first, then the leftmost."""
        parts: list[str] = list(word)  # "" once merged into the part before
        before = list(range(-1, len(parts) - 1))
        after = list(range(1, len(parts) + 1))
        queue = [
            (rank, i, left, right)
            for i, (left, right) in enumerate(pairwise(parts))
            if (rank := self._rank((left, right))) >= 0
        ]
        heapify(queue)
        while queue:
            _, i, left, right = heappop(queue)
            j = after[i]
            if parts[i] != left or j >= len(parts) or parts[j] != right:
                continue
            parts[i], parts[j] = left + right, ""
            k = after[i] = after[j]
            h = before[i]
            if k < len(parts):
                before[k] = i
                pair = (parts[i], parts[k])
                if (rank := self._rank(pair)) >= 0:
                    heappush(queue, (rank, i, *pair))
            if h >= 0:
                pair = (parts[h], parts[i])
                if (rank := self._rank(pair)) >= 0:
                    heappush(queue, (rank, h, *pair))
        return [part for part in parts if part]

    def _rank(self, pair: Pair) -> int:
        rank = self._ranks.get(pair)
        if rank is None:
            rank = self._merges.find(" ".join(pair).encode())
            if rank >= 0 and self._pieces.find("".join(pair).encode()) < 0:
                raise VocabError(
                    f"{self._where}: merge {rank} makes {''.join(pair)!r}, which is not a token"
                )
            if len(self._ranks) >= 4 * _MAX_CACHED:
                self._ranks.clear()
            self._ranks[pair] = rank
        return rank

    def _encode_long(self, text: str) -> list[int]:
        with self._lock:
            engine = self._engine
        if not self._family.whole_newlines:
            ids: list[int] = engine.encode_batch_fast([text], add_special_tokens=False)[0].ids
            return ids
        parts = _LINE_FEEDS.split(text)  # every second one is line feeds
        lines = engine.encode_batch_fast(parts[::2], add_special_tokens=False)
        ids = lines[0].ids
        for feeds, line in zip(parts[1::2], lines[1:], strict=True):
            ids += self._encode_word(feeds) + line.ids
        return ids

    @cached_property
    def _engine(self) -> Engine:
        from tokenizers import Tokenizer as Engine

        numbers: dict[str, int] = {}
        for i, piece in enumerate(self._pieces.to_list()):
            numbers.setdefault(piece.decode("utf-8", "replace"), i)
        model = {
            "type": "BPE",
            "vocab": numbers,
            "merges": [merge.decode("utf-8", "replace") for merge in self._merges.to_list()],
            "ignore_merges": self._family.ignore_merges,
            "byte_fallback": not self._family.byte_level,
        }
        description = json.dumps({"version": "1.0", "model": model}, ensure_ascii=False)
        try:
            engine = Engine.from_buffer(description.encode())
        except Exception as error:
            raise VocabError(f"{self._where}: tokenizer.ggml.merges is unusable: {error}") from None
        engine.pre_tokenizer = self._splitter
        return engine

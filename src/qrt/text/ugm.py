"""Unigram vocabularies (T5, XLM-RoBERTa): the pieces of a text whose scores have the largest sum.

The engine is Hugging Face `tokenizers`; what it is told makes it llama.cpp's: user-defined pieces
score 0, and tokens that text may not become are spelled with a space, which no normalized text has.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.charsmap import CharsMap
from qrt.text.decode import SPACE
from qrt.text.special import Kind
from qrt.text.vocab import Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine


class UgmEncoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(
        self,
        vocab: Vocab,
        scores: NDArray[np.float32],
        allowed: frozenset[int],
        unk_id: int | None,
        charsmap: bytes,
        *,
        space_prefix: bool,
        merge_spaces: bool,
        where: str,
    ) -> None:
        """`allowed` are the tokens that text can become. Raises VocabError."""
        if unk_id is None:
            raise VocabError(f"{where}: has no unknown token, which its vocabulary needs")
        self._vocab = vocab
        self._scores = scores
        self._allowed = allowed
        self._unk_id = unk_id
        self._charsmap = CharsMap(charsmap, self._user_defined(), where)
        self._space_prefix = space_prefix
        self._merge_spaces = merge_spaces
        self._where = where
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the engine now, for example while the weights are read."""
        with self._lock:
            _ = self._engine

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        self.prepare()
        text = self._charsmap.normalize(text)
        if self._merge_spaces:
            text = "".join([SPACE + word for word in text.split(" ") if word])
        else:
            words = text.lstrip(" ")
            if self._space_prefix and words:
                text = f"{text[: len(text) - len(words)]} {words}"
            text = text.replace(" ", SPACE)
        if not text:
            return []
        ids: list[int] = self._engine.encode(text, add_special_tokens=False).ids
        return ids

    def own_bytes(self) -> bytes:
        """None: characters that are not known, however many, are one token."""
        return b""

    def _user_defined(self) -> list[str]:
        kinds, pieces = self._vocab.kinds, self._vocab.pieces
        numbers = np.flatnonzero(kinds == Kind.USER_DEFINED).tolist()
        return [pieces[i].decode("utf-8", "replace") for i in numbers]

    @cached_property
    def _engine(self) -> Engine:
        from tokenizers import Tokenizer as Engine
        from tokenizers.models import Unigram

        kinds = self._vocab.kinds
        least = self._scores.min(where=kinds == Kind.NORMAL, initial=np.inf)
        scores = np.where(kinds == Kind.NORMAL, self._scores, np.float32(0))
        scores = np.where(kinds == Kind.UNUSED, self._scores, scores)
        rows = []
        for i, (piece, score) in enumerate(
            zip(self._vocab.pieces.to_list(), scores.tolist(), strict=True)
        ):
            if i in self._allowed and piece:
                rows.append((piece.decode("utf-8", "replace"), score))
            else:
                rows.append((f" {i}", float(least)))
        try:
            return Engine(Unigram(rows, self._unk_id, False))
        except Exception as error:
            raise VocabError(f"{self._where}: the vocabulary is unusable: {error}") from None

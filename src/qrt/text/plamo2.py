"""PLaMo 2 vocabularies: the tokens of a text whose scores have the largest sum.

Found from the end of the text: at each character the best of the pieces that begin there, or its
UTF-8 bytes at a low price.
"""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qrt.errors import VocabError
from qrt.text.longest import Pieces
from qrt.text.vocab import Vocab

_SCALE = 1e4
_BYTES_COST = 10_000_000
_LEAST_SCORE = -20_000_000  # scaled; pieces of no more are never used
_BYTE_ORDER_MARK = "\ufeff"


class Plamo2Encoder:
    """Encodes text without special tokens. Thread-safe."""

    def __init__(
        self, vocab: Vocab, scores: NDArray[np.float32], allowed: frozenset[int], where: str
    ) -> None:
        """`allowed` are the tokens that text can become. Raises VocabError."""
        if len(vocab.byte_of) != 256:
            raise VocabError(f"{where}: has {len(vocab.byte_of)} byte tokens; expected all 256")
        self._vocab = vocab
        self._scores = scores
        self._allowed = allowed
        self._bytes = {byte: token for token, byte in vocab.byte_of.items()}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Read the pieces now, for example while the weights are read."""
        with self._lock:
            _ = self._pieces, self._costs

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        self.prepare()
        text = text.removeprefix(_BYTE_ORDER_MARK)
        pieces, costs = self._pieces, self._costs
        totals = [0] * (len(text) + 1)  # [i]: what text[i:] costs at best
        steps = [(1, -1)] * len(text)  # [i]: length and id of its first token, -1 for bytes
        for i in range(len(text) - 1, -1, -1):
            best = None
            for length, token in pieces.at(text, i):
                total = totals[i + length] + costs[token]
                if best is None or total < best:
                    best = total
                    steps[i] = length, token
            as_bytes = totals[i + 1] + _BYTES_COST
            if best is None or as_bytes < best:
                best = as_bytes
                steps[i] = 1, -1
            totals[i] = best
        ids: list[int] = []
        i = 0
        while i < len(text):
            length, token = steps[i]
            ids += [token] if token >= 0 else [self._bytes[byte] for byte in text[i].encode()]
            i += length
        return ids

    def own_bytes(self) -> bytes:
        """The bytes that have a token each."""
        return bytes(range(256))

    @cached_property
    def _costs(self) -> list[int]:
        """What each token costs; more than any may where its score is too low or not finite."""
        with np.errstate(all="ignore"):
            scaled = self._scores.astype(np.float64) * _SCALE
        rounded = np.trunc(scaled + np.copysign(0.5, scaled))
        usable = np.isfinite(rounded) & (np.abs(rounded) < 2**31)
        costs: list[int] = np.where(usable, -rounded, -_LEAST_SCORE).astype(np.int64).tolist()
        return costs

    @cached_property
    def _pieces(self) -> Pieces[str]:
        pieces, costs = self._vocab.pieces.to_list(), self._costs
        return Pieces(
            {
                pieces[i].decode("utf-8", "replace"): i
                for i in sorted(self._allowed - self._vocab.byte_of.keys())
                if pieces[i] and costs[i] < -_LEAST_SCORE
            }
        )

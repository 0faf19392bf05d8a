"""BM25 over words: the ranking that a search without a model gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K1, B = 1.2, 0.75
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(text: str) -> list[str]:
    """Words in lower case; names are taken apart at dots, underscores and capitals."""
    return [word.lower() for word in WORD.findall(text)]


class BM25:
    """Scores of texts for a question."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in texts]
        lengths = np.array([count.total() for count in counts], np.float64)
        self.n_texts = len(texts)
        self.norms = K1 * (1 - B + B * lengths / lengths.mean())
        self.found: dict[str, list[tuple[int, int]]] = {}
        for at, count in enumerate(counts):
            for word, n in count.items():
                self.found.setdefault(word, []).append((at, n))

    def scores(self, question: str) -> NDArray[np.float64]:
        """(n_texts,)"""
        scores = np.zeros(self.n_texts)
        for word in words(question):
            found = np.array(self.found.get(word, []), np.int64).reshape(-1, 2)
            at, n = found.T
            idf = np.log(1 + (self.n_texts - len(found) + 0.5) / (len(found) + 0.5))
            scores[at] += idf * n * (K1 + 1) / (n + self.norms[at])
        return scores

"""The ways to embed and to rank texts, each with a twin for event loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from qrt.api.core import Core
from qrt.errors import InputError
from qrt.runtime.checks import shown
from qrt.runtime.turns import never

if TYPE_CHECKING:
    from qrt.runtime.embedding import Embedder

Vectors = NDArray[np.float32]
Pooling = Literal["mean", "cls", "last"]
Text = str | Iterable[int]


class Embeds:
    """Embedding and reranking, which a model does for all threads at the same time: their texts
    share steps, and each has the vector that it has alone.
    """

    _core: Core

    @property
    def embedder(self) -> Embedder:
        """What makes texts into vectors and scores."""
        return self._core.embedder

    @overload
    def embed(
        self,
        texts: Text | Iterable[Text],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> Vectors: ...

    @overload
    def embed(
        self,
        texts: Iterable[Text],
        *,
        pooling: Literal["none"],
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> list[Vectors]: ...

    def embed(
        self,
        texts: Text | Iterable[Text],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> Vectors | list[Vectors]:
        """The vectors of texts (n, dim) float32; of a single text (dim,).

        texts: strings, tokenized with the special tokens that the vocabulary asks for, or lists of
        token ids, which are taken as they are. pooling: "mean", "cls" (the first token) or "last";
        None: as the model says. "none" gives each text an array (n_tokens, dim), in a list.
        normalize: to length 1, so that a dot product is the cosine. dim: only so many first values,
        of a model that was trained for it; they are normalized then. truncate: texts longer than
        the context are cut, else they raise ContextFullError. task: one that the model knows, as
        "query" or "document": what it wants before such texts is put there.

        Raises InputError for arguments, and for a model that makes no vectors.
        """
        work = self._embedding(texts, pooling, normalize, dim, truncate, task)
        return work(never)

    @overload
    async def aembed(
        self,
        texts: Text | Iterable[Text],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> Vectors: ...

    @overload
    async def aembed(
        self,
        texts: Iterable[Text],
        *,
        pooling: Literal["none"],
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> list[Vectors]: ...

    async def aembed(
        self,
        texts: Text | Iterable[Text],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        dim: int | None = None,
        truncate: bool = False,
        task: str | None = None,
    ) -> Vectors | list[Vectors]:
        """`embed` for an event loop, which it never blocks; cancelling the task ends it."""
        from qrt.api.awaiting import called

        work = self._embedding(texts, pooling, normalize, dim, truncate, task)
        return await called(work)

    def rerank(
        self, query: str, texts: Iterable[str], *, truncate: bool = False
    ) -> list[tuple[int, float]]:
        """(index, score) of each text, the one that answers the query best first.

        Scores are what the classifier of a reranker says, unbounded for most, a probability for
        Qwen3-Reranker; for a model of vectors the cosine. They compare within one model alone.
        `model.info.ranks_by` says which it is. truncate: as for `embed`; the text is cut, never
        the query. Raises InputError for arguments, and for a model that does neither.
        """
        return self._ranking(query, texts, truncate)(never)

    async def arerank(
        self, query: str, texts: Iterable[str], *, truncate: bool = False
    ) -> list[tuple[int, float]]:
        """`rerank` for an event loop."""
        from qrt.api.awaiting import called

        return await called(self._ranking(query, texts, truncate))

    def _embedding(
        self,
        texts: Text | Iterable[Text],
        pooling: str | None,
        normalize: bool,
        dim: int | None,
        truncate: bool,
        task: str | None,
    ) -> Callable[[Callable[[], bool]], Vectors | list[Vectors]]:
        """What embeds, once it is told what may stop it."""
        given, is_one = _listed(texts)

        def work(is_stopped: Callable[[], bool]) -> Vectors | list[Vectors]:
            embedder = self.embedder
            embedder.check_embeds(pooling)
            encoded = embedder.encoded(given, truncate=truncate, task=task, is_stopped=is_stopped)
            found = embedder.embed(
                encoded, pooling=pooling, normalize=normalize, dim=dim, is_stopped=is_stopped
            )
            if is_one:
                return found[0]
            if found and found[0].ndim > 1:
                return found
            width = embedder.width if dim is None else dim
            return np.stack(found) if found else np.zeros((0, width), np.float32)

        return work

    def _ranking(
        self, query: str, texts: Iterable[str], truncate: bool
    ) -> Callable[[Callable[[], bool]], list[tuple[int, float]]]:
        """What ranks, once it is told what may stop it."""
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise InputError(f"texts must be a list of texts, got {shown(texts)}")
        given = list(texts)

        def work(is_stopped: Callable[[], bool]) -> list[tuple[int, float]]:
            embedder = self.embedder
            pairs = embedder.pairs(query, given, truncate=truncate, is_stopped=is_stopped)
            return ranked(embedder.scores(pairs, is_stopped) if given else [])

        return work


def ranked(scores: Iterable[float]) -> list[tuple[int, float]]:
    """(index, score) of texts from their scores in order, the best first."""
    return sorted(enumerate(scores), key=lambda one: -one[1])


def _listed(texts: Text | Iterable[Text]) -> tuple[list[Text], bool]:
    """A list of texts, and whether it was a single one: a string, or token ids."""
    if isinstance(texts, str):
        return [texts], True
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise InputError(f"texts must be a text or a list of texts, got {shown(texts)}")
    given: list[Text] = list(texts)  # type: ignore[arg-type]
    if given and all(isinstance(one, int | np.integer) for one in given):
        return [given], True  # type: ignore[list-item]
    return given, False

"""What a model makes of texts: vectors, and scores of how well each answers a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError
from qrt.runtime.checks import check_bool, check_int, shown
from qrt.runtime.heads import Weights, ranks_by, through, vector_width
from qrt.runtime.hidden import HiddenStates, check_going
from qrt.runtime.inputs import QWEN3_RANK, RANK_KEY, Encoded, Inputs
from qrt.runtime.lora import Adapter
from qrt.runtime.pooling import check_pooling, shortened
from qrt.runtime.tasks import Task, scales_for, search_tasks, tasks_of
from qrt.runtime.turns import never

if TYPE_CHECKING:
    from qrt.graph.graph import Graph
    from qrt.runtime.engine import Engine
    from qrt.text import Tokenizer

Vectors = NDArray[np.float32]

_IS_TEXT_MODEL: Final = (
    "is a language model, which answers; qrt.load(path, embedding=True) makes the mean of its "
    "hidden states a text's vector (qrt serve --embedding), or load a model made for embeddings"
)


class Embedder:
    """Embeds and ranks with one model, for all who ask at the same time."""

    def __init__(
        self,
        graph: Graph,
        weights: Weights,
        metadata: Mapping[str, object],
        engine: Engine,
        tokenizer: Tokenizer,
        step_rows: int,
        adapters: Iterable[Adapter] = (),
    ) -> None:
        """weights: those of the graph's heads; step_rows: rows that make a step full."""
        self._engine = engine
        self._graph = graph
        self._weights = weights
        self._metadata = metadata
        self._tokenizer = tokenizer
        chunks = not graph.whole_texts
        self._hidden = HiddenStates(engine, graph.states, step_rows, chunks=chunks)
        self._inputs = Inputs(tokenizer, engine.n_ctx, graph.n_types)
        self._tasks = tasks_of(metadata, graph.arch, adapters)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of what texts may be embedded for."""
        return tuple(self._tasks)

    @property
    def width(self) -> int:
        """Values of a whole vector."""
        return vector_width(self._graph)

    def check_embeds(self, pooling: str | None) -> str:
        """The pooling that holds where `pooling` is asked for. Raises InputError for one that there
        is not, and for a model that has no vectors."""
        own = self._graph.pooling
        if own is None:
            raise InputError(f"this model {_IS_TEXT_MODEL}")
        if pooling is None and own == "rank":
            raise InputError(
                "this model is a reranker, whose scores are no vectors; model.rerank(query, texts) "
                "has them, and pooling='mean' or another names what vectors are to be made of"
            )
        return own if pooling is None else check_pooling(pooling)

    def encoded(
        self,
        texts: Iterable[Any],
        *,
        truncate: bool = False,
        task: str | None = None,
        is_stopped: Callable[[], bool] = never,
    ) -> list[Encoded]:
        """Texts, or lists of token ids, as the model takes them.

        Raises InputError for what is neither, ContextFullError for one that is too long, and
        CancelledError once `is_stopped`.
        """
        check_bool("truncate", truncate)
        if isinstance(texts, bytes) or not isinstance(texts, Iterable):
            raise InputError(f"texts must be a list of texts, got {shown(texts)}")
        kind = self._task(task)
        prompt, scales = kind.prompt, scales_for(kind, self._tasks, self._engine.scales)
        found = []
        for number, text in enumerate(texts):
            check_going(is_stopped)
            name = f"texts[{number}]"
            found.append(
                self._inputs.of_text(text, name, truncate=truncate, prompt=prompt, scales=scales)
            )
        return found

    def _task(self, name: str | None) -> Task:
        """The task of this name, None for none. Raises InputError for one that is not known."""
        if name is None:
            return Task("")
        if not isinstance(name, str) or name not in self._tasks:
            known = ", ".join(self._tasks) or "none; put what it wants before the texts"
            raise InputError(f"task: {shown(name)} is none of this model's: {known}")
        return self._tasks[name]

    def embed(
        self,
        texts: Items[Encoded],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        dim: int | None = None,
        is_stopped: Callable[[], bool] = never,
    ) -> list[Vectors]:
        """The vector of each text (dim,), or with pooling "none" (n_tokens, dim).

        Raises InputError for an argument, and where `check_embeds` does.
        """
        check_bool("normalize", normalize)
        if dim is not None:
            check_int("dim", dim, 1, self.width)
        found = self._run(texts, self.check_embeds(pooling), is_stopped)
        return [
            shortened(through(self._graph.dense, self._weights, rows), dim, normalize=normalize)
            for rows in found
        ]

    def pairs(
        self,
        query: str,
        texts: Items[str],
        *,
        truncate: bool = False,
        is_stopped: Callable[[], bool] = never,
    ) -> list[Encoded]:
        """What is computed to rank texts: each with the query, or for a cosine the query and each.

        Raises InputError, ContextFullError for a text that is too long, and CancelledError.
        """
        check_bool("truncate", truncate)
        for name, text in (("query", query), *((f"texts[{i}]", t) for i, t in enumerate(texts))):
            if not isinstance(text, str):
                raise InputError(f"{name} must be a string, got {shown(text)}")
        how = ranks_by(self._graph, self._metadata)
        if how == "cosine":
            of_query, of_text = search_tasks(self._tasks)
            return [
                *self.encoded([query], truncate=truncate, task=of_query),
                *self.encoded(texts, truncate=truncate, task=of_text, is_stopped=is_stopped),
            ]
        stored = self._metadata.get(RANK_KEY)
        template = QWEN3_RANK if how == "yes or no" else None
        template = stored if isinstance(stored, str) else template
        pair = self._inputs.of_pair
        if template is not None:
            pair = partial(self._inputs.of_template, template)
        found = []
        for number, text in enumerate(texts):
            check_going(is_stopped)
            found.append(pair(query, text, f"texts[{number}]", truncate=truncate))
        return found

    def scores(self, pairs: Items[Encoded], is_stopped: Callable[[], bool] = never) -> list[float]:
        """How well each text answers the query, of what `pairs` made. Raises InputError."""
        graph = self._graph
        how = ranks_by(graph, self._metadata)
        if how is None:
            raise InputError(
                "this model is a language model, which answers; load a reranker, or with "
                "embedding=True (qrt rerank --embedding) to rank by the cosine of vectors"
            )
        if how == "cosine":
            pooling = "mean" if graph.pooling == "none" else None
            vectors = self.embed(pairs, pooling=pooling, is_stopped=is_stopped)
            query, *texts = (vector.astype(np.float64) for vector in vectors)
            return [float((query * vector).sum()) for vector in texts]
        if graph.pooling is None:
            return [self._says_yes(row) for row in self._run(pairs, "last", is_stopped)]
        assert graph.ranking is not None
        rows = self._run(pairs, graph.ranking.pooling, is_stopped)
        return [float(through(graph.ranking.heads, self._weights, row)[0]) for row in rows]

    def _run(
        self, texts: Items[Encoded], pooling: str, is_stopped: Callable[[], bool]
    ) -> list[Vectors]:
        return self._hidden.run(texts, pooling, is_stopped, self._engine.scales)

    def _says_yes(self, logits: Vectors) -> float:
        """The probability of yes, where the answer is yes or no."""
        yes, no = (self._tokenizer.find(word) for word in ("yes", "no"))
        if yes is None or no is None:
            raise InputError("the model's vocabulary has no tokens yes and no; it cannot rank")
        return float(1 / (1 + np.exp(np.float64(logits[no]) - np.float64(logits[yes]))))

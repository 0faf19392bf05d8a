"""Embeddings and ranks that requests ask for: the same for every API, which words them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qrt.api.awaiting import called
from qrt.api.embeds import ranked
from qrt.errors import InputError
from qrt.server.errors import LOG, RefusedError
from qrt.server.models import Served
from qrt.server.routes.native_bodies import token_ids
from qrt.server.routing import Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qrt.text import Tokenizer

MAX_TEXTS = 2048
"""As OpenAI's interface has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What vectors are to be like, named as in `Model.embed`."""

    pooling: str | None = None
    normalize: bool = True
    dim: int | None = None
    truncate: bool = False
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of texts in order, and how many tokens those had together."""

    vectors: list[NDArray[np.float32]]
    n_tokens: int


async def embedded(
    request: Request[Any], served: Served, inputs: Sequence[Any], wanted: Wanted
) -> Embedded:
    """The vectors of inputs, each as `parts_of` takes it. Raises InputError and RefusedError."""
    model = served.model
    _check_many(len(inputs), "input")
    check_embeds(served)
    width = model.info.embedding_dim
    if wanted.dim is not None and width is not None and not 1 <= wanted.dim <= width:
        raise RefusedError(
            400, f"dimensions must be from 1 to {width}, got {wanted.dim}", param="dimensions"
        )

    def work(is_stopped: Callable[[], bool]) -> Embedded:
        tokenizer, embedder = model.tokenizer, model.embedder
        texts = [_text_or_ids(parts_of(one), tokenizer) for one in inputs]
        encoded = embedder.encoded(
            texts, truncate=wanted.truncate, task=wanted.task, is_stopped=is_stopped
        )
        vectors = embedder.embed(
            encoded,
            pooling=wanted.pooling,
            normalize=wanted.normalize,
            dim=wanted.dim,
            is_stopped=is_stopped,
        )
        return Embedded(vectors, sum(len(one.tokens) for one in encoded))

    with _noted(request, served, inputs) as counted:
        done = await called(work)
        counted(done.n_tokens)
    return done


async def ranks(
    request: Request[Any], served: Served, query: str, texts: Sequence[str], *, truncate: bool
) -> tuple[list[tuple[int, float]], int]:
    """Texts by how well they answer a query, the best first, and the tokens that were computed.

    Raises InputError and RefusedError.
    """
    model = served.model
    _check_many(len(texts), "documents")
    if model.info.ranks_by is None:
        raise RefusedError(
            501,
            f"{served.name} does not rank texts; ask for a reranker or an embedding model",
            code="not_supported",
        )

    def work(is_stopped: Callable[[], bool]) -> tuple[list[tuple[int, float]], int]:
        embedder = model.embedder
        pairs = embedder.pairs(query, texts, truncate=truncate, is_stopped=is_stopped)
        found = ranked(embedder.scores(pairs, is_stopped))
        return found, sum(len(pair.tokens) for pair in pairs)

    with _noted(request, served, [query, *texts]) as counted:
        found, n_tokens = await called(work)
        counted(n_tokens)
    return found, n_tokens


def check_embeds(served: Served) -> None:
    """Raises RefusedError for a model that makes no vectors."""
    if served.model.info.pooling is None:
        raise RefusedError(
            501,
            f"{served.name} is a language model, which makes no embeddings; ask for an embedding "
            "model, or start with --embedding",
            code="not_supported",
        )


def parts_of(value: Any) -> list[int | str]:
    """A text, or tokens and texts in turn, of an input in any form that llama-server takes.

    Raises InputError.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        return value
    if isinstance(value, dict):
        if isinstance(text := value.get("prompt_string"), str):
            return [text]
        if isinstance(parts := value.get("content"), list) and parts:
            return ["".join(map(_text_of, parts))]
    raise InputError("input: expected a text, token ids, or a list of them that is not empty")


def is_one(value: Any) -> bool:
    """Whether an input is a single text: not a list, or one in which token ids stand."""
    is_number = isinstance(value, list) and any(isinstance(part, int) for part in value)
    return not isinstance(value, list) or is_number


def _text_of(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise InputError("input: a content has parts of type text; qrt's models read nothing else")


def _text_or_ids(parts: list[int | str], tokenizer: Tokenizer) -> str | list[int]:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return token_ids(parts, tokenizer)


def _check_many(n_texts: int, param: str) -> None:
    if not 1 <= n_texts <= MAX_TEXTS:
        raise RefusedError(400, f"{param}: from 1 to {MAX_TEXTS} texts, got {n_texts}", param=param)


@contextmanager
def _noted(
    request: Request[Any], served: Served, texts: Sequence[Any]
) -> Iterator[Callable[[int], None]]:
    """Around the computing for a request; is called with the tokens of it."""
    metrics, started = request.state.metrics, time.perf_counter()
    metrics.models.add(served.model)
    if request.config.log_prompts:
        LOG.info("texts: %r", list(texts))

    def counted(n_tokens: int) -> None:
        metrics.prompt_tokens += n_tokens
        metrics.prompt_s += time.perf_counter() - started

    metrics.n_running += 1
    try:
        yield counted
    finally:
        metrics.n_running -= 1

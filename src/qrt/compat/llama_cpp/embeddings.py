"""Embeddings in llama-cpp-python's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qrt.errors import InputError

if TYPE_CHECKING:
    from qrt.api.model import Model

POOLINGS = ("none", "mean", "cls", "last", "rank")
"""By llama.cpp's numbers."""


def pooling_of(model: Model, pooling_type: int) -> str | None:
    """The pooling that a number asks for, -1 for the file's own; None: as the model says.

    A file that names none has none, as llama.cpp has it. Raises InputError.
    """
    if pooling_type == -1:
        is_stated = f"{model.info.arch}.pooling_type" in model.metadata
        return None if is_stated else "none"
    if not 0 <= pooling_type < len(POOLINGS) - 1:
        raise InputError(f"pooling_type must be -1, or from 0 to 3, got {pooling_type}")
    return POOLINGS[pooling_type]


def embed(
    model: Model, texts: Sequence[str], pooling: str | None, *, normalize: bool, truncate: bool
) -> tuple[list[Any], int]:
    """A list of numbers for each text, or without pooling for each token; and all tokens."""
    embedder = model.embedder
    embedder.check_embeds(pooling)
    encoded = embedder.encoded(texts, truncate=truncate)
    found = embedder.embed(encoded, pooling=pooling, normalize=normalize)
    return [one.tolist() for one in found], sum(len(one.tokens) for one in encoded)


def response(found: list[Any], n_tokens: int, model: str) -> dict[str, Any]:
    """As `create_embedding` gives it."""
    data = [
        {"object": "embedding", "embedding": one, "index": index} for index, one in enumerate(found)
    ]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}

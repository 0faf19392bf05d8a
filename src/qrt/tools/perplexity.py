"""Perplexity: how well a model foretells a text, with llama-perplexity's arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qrt.progress import Progress
from qrt.runtime.loader import load
from qrt.tools.chunks import (
    DEFAULT_N_CTX,
    Chunk,
    ChunkModel,
    QualityOptions,
    cut,
    n_scored,
    targets,
)
from qrt.tools.logits_file import LogitsWriter, saving
from qrt.tools.scores import log_softmax, perplexity_and_error


@dataclass(frozen=True, slots=True)
class Perplexity:
    """A model's perplexity on a text."""

    model_filename: str
    kv_type: str
    n_ctx: int
    n_chunks: int
    n_tokens: int
    """Tokens that were scored."""
    perplexity: float
    perplexity_error: float
    """Standard error."""


def perplexity(
    path: str | os.PathLike[str],
    text: str,
    options: QualityOptions,
    progress: Progress,
    save_to: Path | None = None,
) -> Perplexity:
    """The perplexity of a model on a text, cut and scored as `qrt.tools.chunks` says.

    exp(mean(-log p)) over all scored tokens. save_to: a file for the logits, which `kl` can compare
    with. `progress` gets the value so far. Raises InputError for a text that is too short or a file
    that cannot be written, ModelError for logits that are not finite, and what
    `runtime.loader.load` does.
    """
    n_ctx = options.n_ctx or DEFAULT_N_CTX
    with ExitStack() as stack:
        model = ChunkModel(load(path, options.load_options(n_ctx), progress))
        stack.enter_context(closing(model))
        chunks = cut(model.tokenizer, text, n_ctx)
        chunks = chunks[: options.n_chunks_of(len(chunks))]
        writer = None
        if save_to is not None:
            writer = stack.enter_context(saving(save_to, model.vocabulary, n_ctx, len(chunks)))
        losses = np.empty((len(chunks), n_scored(n_ctx)))
        progress("perplexity", 0, len(chunks))
        for i, chunk in enumerate(chunks):
            losses[i] = list(_losses(model, chunk, writer))
            value, error = perplexity_and_error(losses[: i + 1].ravel())
            progress(f"perplexity {value:.4f}", i + 1, len(chunks))
    return Perplexity(str(path), options.kv_type, n_ctx, len(chunks), losses.size, value, error)


def _losses(model: ChunkModel, chunk: Chunk, writer: LogitsWriter | None) -> Iterator[float]:
    """-log p of each scored token."""
    if writer is not None:
        writer.begin(chunk)
    for target, row in zip(targets(chunk), model.rows(chunk), strict=True):
        if writer is not None:
            writer.add(row)
        yield -float(log_softmax(row)[target])

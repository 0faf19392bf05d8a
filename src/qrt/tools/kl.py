"""KL divergence: how far a model's next-token distributions are from those of a reference."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np

from qrt.errors import InputError
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
from qrt.tools.logits_file import SavedLogits, is_saved_logits
from qrt.tools.scores import divergence, log_softmax, mean_and_error, perplexity_and_error

_TAIL = 0.99


@dataclass(frozen=True, slots=True)
class Divergence:
    """A model beside a reference on the same tokens. Divergences are in nats, errors standard."""

    model_filename: str
    base_filename: str
    kv_type: str
    n_ctx: int
    n_chunks: int
    n_tokens: int
    """Tokens that were scored."""
    kl_mean: float
    kl_mean_error: float
    kl_median: float
    kl_99: float
    """The 99th percentile, between two values where it falls between them."""
    kl_max: float
    same_top: float
    """The share of tokens where both find the same one most likely."""
    same_top_error: float
    perplexity: float
    perplexity_error: float
    base_perplexity: float
    base_perplexity_error: float


def kl(
    path: str | os.PathLike[str],
    base_path: str | os.PathLike[str],
    text: str | None,
    options: QualityOptions,
    progress: Progress,
) -> Divergence:
    """Compares a model with `base_path`, another model or logits that `perplexity` has saved.

    The text is cut and scored as `qrt.tools.chunks` says; saved logits bring their own tokens, and
    take None. For each scored token the divergence is sum(p_base * (log p_base - log p)) over the
    vocabulary. `progress` gets the mean so far.

    Raises InputError for vocabularies that differ, a text or a context that does not fit, and
    ModelError for saved logits that cannot be used; and what `runtime.loader.load` does.
    """
    with ExitStack() as stack:
        saved = None
        if is_saved_logits(base_path):
            saved = SavedLogits(stack.enter_context(open(base_path, "rb")), str(base_path))
        n_ctx = _context(saved, text, options)
        model = ChunkModel(load(path, options.load_options(n_ctx), progress))
        stack.enter_context(closing(model))
        chunks: Iterable[Chunk]
        base: SavedLogits | ChunkModel
        if saved is not None:
            base, chunks, n_there = saved, saved.chunks(), saved.n_chunks
        else:
            chunks = cut(model.tokenizer, text or "", n_ctx)
            n_there = len(chunks)
            base = ChunkModel(load(base_path, options.load_options(n_ctx), progress))
            stack.enter_context(closing(base))
        _check_vocabularies(model, base)
        n_chunks = options.n_chunks_of(n_there)
        scores = np.empty((n_chunks, n_scored(n_ctx), 4))
        progress("KL divergence", 0, n_chunks)
        for i, chunk in zip(range(n_chunks), chunks, strict=False):
            scores[i] = list(_scores(model, base, chunk))
            mean = scores[: i + 1, :, 0].mean()
            progress(f"KL divergence {mean:.6f}", i + 1, n_chunks)
    divergences, same, losses, base_losses = scores.reshape(-1, 4).T
    return Divergence(
        str(path),
        str(base_path),
        options.kv_type,
        n_ctx,
        n_chunks,
        len(losses),
        *mean_and_error(divergences),
        float(np.median(divergences)),
        float(np.quantile(divergences, _TAIL)),
        float(divergences.max()),
        *mean_and_error(same),
        *perplexity_and_error(losses),
        *perplexity_and_error(base_losses),
    )


def _context(saved: SavedLogits | None, text: str | None, options: QualityOptions) -> int:
    """Tokens of a chunk. Raises InputError where text and saved logits do not go together."""
    if saved is None:
        if text is None:
            raise InputError("there is no text to compare the models on; name a file with -f")
        return options.n_ctx or DEFAULT_N_CTX
    if text is not None:
        raise InputError(f"{saved.where}: saved logits bring their own text; give no other")
    if options.n_ctx is not None and options.n_ctx != saved.n_ctx:
        raise InputError(f"n_ctx is {options.n_ctx}, {saved.where} was saved with {saved.n_ctx}")
    return saved.n_ctx


def _check_vocabularies(model: ChunkModel, base: ChunkModel | SavedLogits) -> None:
    ours, theirs = model.vocabulary, base.vocabulary
    if ours != theirs:
        sizes = f"of {ours.n_vocab} tokens and of {theirs.n_vocab}"
        raise InputError(f"{model.where} and {base.where} have different vocabularies, {sizes}")


def _scores(
    model: ChunkModel, base: ChunkModel | SavedLogits, chunk: Chunk
) -> Iterator[tuple[float, bool, float, float]]:
    """Divergence, whether the top token is the same, -log p and -log p_base of scored tokens."""
    rows = zip(targets(chunk), model.rows(chunk), base.rows(chunk), strict=True)
    for target, row, base_row in rows:
        log_p, log_base = log_softmax(row), log_softmax(base_row)
        same = bool(row.argmax() == base_row.argmax())
        yield divergence(log_base, log_p), same, -float(log_p[target]), -float(log_base[target])

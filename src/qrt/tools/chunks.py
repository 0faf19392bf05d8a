"""A text in chunks, as perplexity and KL divergence are measured on it, and the logits of those.

Chunks are cut as llama.cpp's llama-perplexity cuts them: n_ctx tokens each, what is left over at
the end is dropped, and where the vocabulary begins a text with BOS, BOS stands in place of the
first token of every chunk. A chunk runs from an empty cache. The first half is context; the rows
from n_ctx // 2 on are scored, but for the last, which no token follows: `n_scored` rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.errors import InputError, ModelError
from qrt.runtime.checks import INT_MAX, check_int
from qrt.runtime.engine import Engine
from qrt.runtime.loader import Loaded, LoadOptions
from qrt.text import Tokenizer
from qrt.text.vocab import read_strings

DEFAULT_N_CTX = 512
MIN_N_CTX = 8
_MIN_CHUNKS = 2

Chunk = NDArray[np.int32]
"""Token ids (n_ctx,)."""
Row = NDArray[np.float32]
"""Logits (n_vocab,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """How a text is cut and models run on it.

    n_ctx: tokens of a chunk; None: 512, or those of saved logits. n_chunks: chunks at most; None:
    the whole text. The others are those of `LoadOptions`.
    """

    n_ctx: int | None = None
    n_chunks: int | None = None
    n_threads: int | None = None
    n_threads_batch: int | None = None
    kv_type: str = "f16"
    backend: str = "auto"
    pack: bool | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, MIN_N_CTX, INT_MAX)
        if self.n_chunks is not None:
            check_int("n_chunks", self.n_chunks, 1, INT_MAX)

    def load_options(self, n_ctx: int) -> LoadOptions:
        """The options of a model that runs chunks of `n_ctx` tokens."""
        return LoadOptions(
            n_ctx=n_ctx,
            n_threads=self.n_threads,
            n_threads_batch=self.n_threads_batch,
            kv_type=self.kv_type,
            backend=self.backend,
            pack=self.pack,
        )

    def n_chunks_of(self, n_there: int) -> int:
        """How many of the chunks that are there to run."""
        return n_there if self.n_chunks is None else min(n_there, self.n_chunks)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What models must share for their logits to be compared."""

    n_vocab: int
    sha256: bytes
    """Of the length, as 4 bytes little-endian, and the UTF-8 of every token in order."""


def vocabulary(loaded: Loaded) -> Vocabulary:
    """The vocabulary of a model. Raises VocabError if the file has none."""
    pieces = read_strings(loaded.file.metadata, "tokenizer.ggml.tokens", str(loaded.file.path))
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return Vocabulary(loaded.graph.n_vocab, digest.digest())


def first_scored(n_ctx: int) -> int:
    """The first row of a chunk whose logits are scored."""
    return n_ctx // 2


def n_scored(n_ctx: int) -> int:
    """Rows of a chunk whose logits are scored."""
    return n_ctx - 1 - first_scored(n_ctx)


def targets(chunk: Chunk) -> list[int]:
    """The token that follows each scored row: (n_scored,)."""
    following: list[int] = chunk[first_scored(len(chunk)) + 1 :].tolist()
    return following


def cut(tokenizer: Tokenizer, text: str, n_ctx: int) -> NDArray[np.int32]:
    """The chunks of a text: (n_chunks, n_ctx). Raises InputError for fewer than two."""
    if not text:
        raise InputError("the text is empty")
    bos = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
    ids = np.array(bos + tokenizer.tokenize(text, add_special=False), np.int32)
    n_chunks = len(ids) // n_ctx
    if n_chunks < _MIN_CHUNKS:
        needed = f"a context of {n_ctx} needs at least {_MIN_CHUNKS * n_ctx}"
        raise InputError(
            f"the text has {len(ids)} tokens, {needed}; give a longer text or a smaller context"
        )
    chunks = ids[: n_chunks * n_ctx].reshape(n_chunks, n_ctx)
    if bos:
        chunks[:, 0] = bos[0]
    return chunks


def checked(row: Row, where: str) -> Row:
    """`row`, if all its logits are finite; else raises ModelError."""
    if not np.isfinite(row).all():
        raise ModelError(f"{where}: gives logits that are not finite numbers")
    return row


class ChunkModel:
    """A loaded model that gives the logits of chunks."""

    def __init__(self, loaded: Loaded) -> None:
        """Raises InputError for a model that makes vectors of texts; it is closed then."""
        self.where = str(loaded.file.path)
        self._loaded = loaded
        self._engine = Engine(loaded.executor, loaded.graph.states, loaded.n_ctx)
        if loaded.graph.pooling is not None:
            self.close()
            raise InputError(f"{self.where}: expected a language model, got one for embeddings")
        self.vocabulary = vocabulary(loaded)

    @property
    def tokenizer(self) -> Tokenizer:
        """Waits for it; raises VocabError if the vocabulary is unusable."""
        return self._loaded.tokenizer.result()

    def rows(self, chunk: Chunk) -> Iterator[Row]:
        """The logits of the scored rows, in order; those of one step are held at a time.

        Raises ModelError for logits that are not finite.
        """
        engine, tokens = self._engine, chunk[:-1].tolist()
        seq = engine.open()
        try:
            for start in range(0, len(tokens), engine.max_rows):
                rows = tokens[start : start + engine.max_rows]
                n_logits = min(max(start + len(rows) - first_scored(len(chunk)), 0), len(rows))
                for row in engine.append(seq, rows, n_logits=n_logits):
                    yield checked(row, self.where)
        finally:
            engine.release(seq)

    def close(self) -> None:
        """Frees the model and its file."""
        self._engine.close()
        self._loaded.file.close()

"""From a path to a model that can run: file, graph, tokenizer, packed weights, KV pages."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from qrt.arch import build_graph
from qrt.backends.base import Choices, Executor, Prepare, Progress, Settings, kv_types
from qrt.backends.cpu.tuning import read_tuning
from qrt.config import MAX_THREADS, default_threads, read_env
from qrt.errors import InputError, VocabError
from qrt.formats.gguf import GGUFFile, open_gguf
from qrt.formats.qtensor import QTensor
from qrt.graph.ir import Graph, Linear, Norm
from qrt.runtime.checks import INT_MAX, check_int, shown
from qrt.runtime.kv import pages_for
from qrt.text import Tokenizer, load_tokenizer

BACKENDS: Final[Mapping[str, str]] = {
    "cpu": "qrt.backends.cpu",
    "reference": "qrt.backends.reference",
}
AUTO_BACKEND: Final = "cpu"

_DEFAULT_N_CTX = 4096
_SPARE_POSITIONS = 8192
"""KV positions for sequences beside the first; untouched pages cost address space, not memory."""


def no_progress(what: str, done: int, total: int) -> None:
    """The progress callback of a caller that shows none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. Every value is checked: `InputError` names what is wrong.

    n_ctx: positions of one sequence; None: what the model was trained for, at most 4096.
    n_threads: None: QRT_THREADS, what `qrt tune` measured, or one per CPU this process may use.
    kv_type: "f16", "f32", "q8_0" or "q4_0"; "q8_0,q4_0" for keys and values apart.
    backend: "auto", "cpu" or "reference".
    """

    n_ctx: int | None = None
    n_threads: int | None = None
    kv_type: str = "f16"
    backend: str = "auto"

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, 1, INT_MAX)
        if self.n_threads is not None:
            check_int("n_threads", self.n_threads, 1, MAX_THREADS)
        kv_types(self.kv_type)
        backends = ("auto", *BACKENDS)
        if self.backend not in backends:
            known = ", ".join(backends)
            raise InputError(f"backend must be one of {known}, got {shown(self.backend)}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An open file and all that was made of it."""

    file: GGUFFile
    graph: Graph
    executor: Executor
    tokenizer: Future[Tokenizer]
    n_ctx: int
    backend: str
    weight_bytes: int
    """Bytes of weights that one decoded token reads."""


def load(path: str | os.PathLike[str], options: LoadOptions, progress: Progress) -> Loaded:
    """Opens a model file and prepares it on the backend asked for.

    The tokenizer is built on a thread meanwhile; `tokenizer.result()` waits for it and raises
    VocabError if the vocabulary is unusable. Raises GGUFError, ArchError, InputError, BackendError.
    """
    backend = AUTO_BACKEND if options.backend == "auto" else options.backend
    file = open_gguf(path)
    where = str(path)
    graph = build_graph(file.metadata, file.tensors, where)
    n_ctx = _context(options.n_ctx, graph.n_ctx_train)
    worker = ThreadPoolExecutor(1, thread_name_prefix="qrt-tokenizer")
    tokenizer = worker.submit(_tokenizer, file.metadata, graph.n_vocab, where)
    worker.shutdown(wait=False)
    env = read_env()
    choices = Choices(prefill_threads=options.n_threads)
    if backend == "cpu":
        choices = read_tuning(env, options.n_threads).choices
    settings = Settings(
        n_threads=choices.prefill_threads or default_threads(env),
        n_pages=pages_for(n_ctx) + pages_for(min(3 * n_ctx, _SPARE_POSITIONS)),
        max_rows=min(n_ctx, choices.prefill_rows),
        kv_type=options.kv_type,
        file=file,
        decode_threads=choices.decode_threads,
    )
    prepare: Prepare = importlib.import_module(BACKENDS[backend]).prepare
    executor = prepare(graph, file.tensors, settings, progress)
    weight_bytes = bytes_per_token(graph, file.tensors)
    return Loaded(file, graph, executor, tokenizer, n_ctx, backend, weight_bytes)


def bytes_per_token(graph: Graph, tensors: Mapping[str, QTensor]) -> int:
    """Bytes of the weights that one decoded token reads: all but a table that is only looked up."""
    readers = (op for op in graph.ops if isinstance(op, Linear | Norm))
    read = {name for op in readers for name in (op.weight, op.bias)}
    return sum(tensors[name].n_bytes for name in graph.weights if name in read)


def _tokenizer(metadata: Mapping[str, object], n_vocab: int, where: str) -> Tokenizer:
    tokenizer = load_tokenizer(metadata, where)
    if tokenizer.n_vocab != n_vocab:
        raise VocabError(
            f"{where}: the vocabulary has {tokenizer.n_vocab} tokens, the model's output {n_vocab}"
        )
    tokenizer.prepare()
    return tokenizer


def _context(asked: int | None, n_ctx_train: int) -> int:
    if asked is None:
        return min(n_ctx_train, _DEFAULT_N_CTX)
    if asked > n_ctx_train:
        raise InputError(
            f"n_ctx is {asked}, the model was trained for {n_ctx_train}; ask for at most that"
        )
    return asked

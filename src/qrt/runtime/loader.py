"""From a path to a model that can run: file, graph, tokenizer, packed weights, KV pages."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from collections.abc import Sequence as Items
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from qrt.arch import build_graph
from qrt.backends.base import Backend, Executor, Footprint, Settings, kv_types
from qrt.config import MAX_THREADS, default_threads, read_env
from qrt.errors import InputError, VocabError
from qrt.formats.gguf import GGUFFile, open_gguf
from qrt.formats.qtensor import QTensor
from qrt.free_memory import free_memory
from qrt.graph.cut import cut
from qrt.graph.graph import Graph
from qrt.graph.heads import Pooling
from qrt.progress import Progress
from qrt.runtime.adapters import open_adapters
from qrt.runtime.capacity import capacities
from qrt.runtime.checks import INT_MAX, check_bool, check_float, check_int, shown
from qrt.runtime.fitting import Need, fit, footprint_of
from qrt.runtime.heads import Weights, head_weights
from qrt.runtime.lora import Adapter, Asked, asked_for
from qrt.runtime.parts import PartsExecutor, backend_of_layers, runs_of
from qrt.runtime.policy import SHARED_CHUNKS, Limits
from qrt.runtime.pooling import check_pooling
from qrt.runtime.prefix_files import PrefixFiles
from qrt.text import Tokenizer, load_tokenizer

BACKENDS: Final[Mapping[str, str]] = {
    "cpu": "qrt.backends.cpu",
    "reference": "qrt.backends.reference",
}
AUTO_BACKEND: Final = "cpu"

_DEFAULT_N_CTX = 4096
_MAX_BYTES = 1 << 50
DEFAULT_DIR_BYTES: Final = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. Every value is checked: `InputError` names what is wrong.

    n_ctx: positions of one sequence; None: what the model was trained for, at most 4096.
    n_threads: None: QRT_THREADS, what `qrt tune` measured, or one per CPU this process may use.
    n_threads_batch: those that read a prompt; None: as many.
    kv_type: "f16", "f32", "q8_0" or "q4_0"; "q8_0,q4_0" for keys and values apart.
    kv_bytes: memory for keys, values and states beside those of one whole context: of other
        sequences, and of earlier ones for prompts that begin alike; None: 15 contexts, at most a
        quarter of what is free.
    prefix_dir: where pages of prompts are kept for other processes and later starts; None: nowhere.
    prefix_dir_bytes: what the files there may take.
    backend: "auto", "cpu" or "reference".
    layers: the backend of some layers, as {"0-3": "reference"}; None: `backend` runs all.
    embedding: True: a language model makes vectors of texts in place of answers; False: one that
        names a pooling answers; None: as the file says.
    pooling: what vectors are made of where nobody says; None: as the file says.
    pack: whether packed weights are kept on disk and read from there; None: as QRT_PACK_CACHE says.
    latency: "low", "balanced" or "throughput": how much of a prompt is computed in a step that
        others wait for.
    max_running, max_waiting: generations that are computed together, and that wait to be.
    stuck_s: seconds after which a step, or a function of a caller's in it, counts as hanging.
    lora: files of adapters, and how much of each is used where a generation does not say.
    """

    n_ctx: int | None = None
    n_threads: int | None = None
    n_threads_batch: int | None = None
    kv_type: str = "f16"
    kv_bytes: int | None = None
    prefix_dir: str | os.PathLike[str] | None = None
    prefix_dir_bytes: int = DEFAULT_DIR_BYTES
    backend: str = "auto"
    layers: Mapping[str, str] | None = None
    embedding: bool | None = None
    pooling: str | None = None
    pack: bool | None = None
    latency: str = "balanced"
    max_running: int = 64
    max_waiting: int = 256
    stuck_s: float = 60.0
    lora: Asked = ()

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, 1, INT_MAX)
        if self.kv_bytes is not None:
            check_int("kv_bytes", self.kv_bytes, 0, _MAX_BYTES)
        check_int("prefix_dir_bytes", self.prefix_dir_bytes, 0, _MAX_BYTES)
        if not isinstance(self.prefix_dir, str | os.PathLike | None):
            raise InputError(f"prefix_dir must be a path, got {shown(self.prefix_dir)}")
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, MAX_THREADS)
        if self.embedding is not None:
            check_bool("embedding", self.embedding)
        if self.pooling is not None:
            check_pooling(self.pooling)
            if self.embedding is False:
                raise InputError("pooling is of vectors, and embedding=False asks for answers")
        if self.pack is not None:
            check_bool("pack", self.pack)
        kv_types(self.kv_type)
        if self.latency not in SHARED_CHUNKS:
            known = ", ".join(SHARED_CHUNKS)
            raise InputError(f"latency must be one of {known}, got {shown(self.latency)}")
        check_int("max_running", self.max_running, 1, INT_MAX)
        check_int("max_waiting", self.max_waiting, 1, INT_MAX)
        check_float("stuck_s", self.stuck_s, 0.1, 1e9)
        object.__setattr__(self, "lora", asked_for(self.lora))
        if self.layers is not None and not isinstance(self.layers, Mapping):
            raise InputError(f"layers must map ranges to backends, got {shown(self.layers)}")
        for backend in (self.backend, *(self.layers or {}).values()):
            if backend not in ("auto", *BACKENDS):
                known = ", ".join(("auto", *BACKENDS))
                raise InputError(f"backend must be one of {known}, got {shown(backend)}")


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
    limits: Limits
    unit_bytes: tuple[int, ...]
    """Of a page, or a slot, of each state group."""
    head_weights: Weights
    """Of the layers behind a pooled row."""
    files: PrefixFiles | None = None
    adapters: tuple[Adapter, ...] = ()


def load(path: str | os.PathLike[str], options: LoadOptions, progress: Progress) -> Loaded:
    """Opens a model file and prepares it on the backend asked for.

    The tokenizer is built on a thread meanwhile; `tokenizer.result()` waits for it and raises
    VocabError if the vocabulary is unusable. Raises GGUFError, ArchError, InputError, BackendError.
    """
    files = None
    if options.prefix_dir is not None:
        files = PrefixFiles(Path(options.prefix_dir), options.prefix_dir_bytes)
    file = open_gguf(path)
    where = str(path)
    whole, adapters = _whole(file, options)
    graph = whole.graph
    n_ctx = _context(options.n_ctx, graph.n_ctx_train)
    runs = _runs(options, graph)
    parts = _parts(graph, runs)  # imports what it needs before there is another thread
    worker = ThreadPoolExecutor(1, thread_name_prefix="qrt-tokenizer")
    tokenizer = worker.submit(build_tokenizer, file.metadata, graph.n_vocab, where)
    worker.shutdown(wait=False)
    heads = head_weights(graph, whole.tensors)
    plan = _planned(parts, whole, n_ctx, options)
    executor = _prepare(parts, whole, plan, progress)
    weight_bytes = bytes_per_token(graph, whole.tensors)
    backend = "+".join(dict.fromkeys(backend for _, backend in runs))
    limits = Limits(
        executor.settings.max_rows,
        options.max_running,
        options.max_waiting,
        SHARED_CHUNKS[options.latency],
        options.stuck_s,
    )
    return Loaded(
        file=file,
        graph=graph,
        executor=executor,
        tokenizer=tokenizer,
        n_ctx=n_ctx,
        backend=backend,
        weight_bytes=weight_bytes,
        limits=limits,
        unit_bytes=plan.need.footprint.units,
        files=files if graph.decoder_start is None else None,
        adapters=adapters,
        head_weights=heads,
    )


@dataclass(frozen=True, slots=True)
class _Whole:
    """A model file, its graph, which adapters may have changed, and the tensors of that."""

    file: GGUFFile
    plain: Graph
    graph: Graph
    tensors: Mapping[str, QTensor]


def _whole(file: GGUFFile, options: LoadOptions) -> tuple[_Whole, tuple[Adapter, ...]]:
    n_ctx = options.n_ctx or _DEFAULT_N_CTX
    where, pooling = str(file.path), options.pooling
    embedding = True if pooling is not None else options.embedding
    plain = build_graph(file.metadata, file.tensors, where, n_ctx, embedding=embedding)
    if embedding is False and plain.pooling is not None:
        raise InputError(f"{where}: is an encoder, which has no answers; leave embedding=False out")
    if pooling is not None:
        plain = replace(plain, pooling=cast(Pooling, pooling))
    adapters, graph, tensors = open_adapters(plain, options.lora)
    return _Whole(file, plain, graph, {**file.tensors, **tensors}), adapters


def _runs(options: LoadOptions, graph: Graph) -> list[tuple[int, str]]:
    """(first layer, backend) of each part of the graph."""
    layers = {layer: _backend(name) for layer, name in (options.layers or {}).items()}
    default = _backend(options.backend)
    return runs_of(backend_of_layers(layers, default, graph.n_layers)) or [(0, default)]


def _backend(name: str) -> str:
    return AUTO_BACKEND if name == "auto" else name


def _parts(graph: Graph, runs: Items[tuple[int, str]]) -> list[tuple[Graph, Backend]]:
    """The parts of the graph with the packages of their backends, which have all of their ops."""
    graphs = [graph] if len(runs) == 1 else cut(graph, [first for first, _ in runs[1:]])
    modules = [cast(Backend, importlib.import_module(BACKENDS[name])) for _, name in runs]
    for part, module in zip(graphs, modules, strict=True):
        module.check(part)
    return list(zip(graphs, modules, strict=True))


def need_of(path: str | os.PathLike[str], options: LoadOptions) -> Need:
    """The memory that a model file would take, told from its header; nothing is loaded.

    Raises what `load` raises before it looks at the memory there is.
    """
    with open_gguf(path) as file:
        whole, _ = _whole(file, options)
        parts = _parts(whole.graph, _runs(options, whole.graph))
        n_ctx = _context(options.n_ctx, whole.graph.n_ctx_train)
        return _planned(parts, whole, n_ctx, options).need


@dataclass(frozen=True, slots=True)
class _Plan:
    """The settings of each part, capacities left out, and what the parts take."""

    settings: list[Settings]
    footprints: list[Footprint]
    need: Need


def _planned(
    parts: Items[tuple[Graph, Backend]],
    whole: _Whole,
    n_ctx: int,
    options: LoadOptions,
) -> _Plan:
    env = read_env()
    choices = [module.choices(env, options.n_threads) for _, module in parts]
    full_rows = min(choice.prefill_rows for choice in choices)
    max_rows = _max_rows(whole.plain, n_ctx, full_rows)
    every = [
        Settings(
            n_threads=options.n_threads_batch or choice.prefill_threads or default_threads(env),
            capacities=(),
            max_rows=max_rows,
            full_rows=full_rows,
            kv_type=options.kv_type,
            n_ctx=n_ctx,
            file=whole.file,
            decode_threads=choice.decode_threads,
            whole=whole.plain,
            pack=options.pack,
        )
        for choice in choices
    ]
    footprints = [
        module.footprint(graph, whole.tensors, settings)
        for (graph, module), settings in zip(parts, every, strict=True)
    ]
    need = Need(footprint_of(footprints), whole.plain.states, n_ctx, max_rows, options.kv_bytes)
    return _Plan(every, footprints, need)


def _max_rows(graph: Graph, n_ctx: int, full_rows: int) -> int:
    """Rows of a step: of several texts where they are embedded, of a whole one if it must be."""
    if graph.whole_texts:
        return max(n_ctx, full_rows)
    return min(n_ctx, full_rows) if graph.pooling is None else full_rows


def _prepare(
    parts: Items[tuple[Graph, Backend]],
    whole: _Whole,
    plan: _Plan,
    progress: Progress,
) -> Executor:
    """The graph on its backend, or its parts on theirs."""
    need = plan.need
    fitting = fit(need, free_memory(), str(whole.file.path))
    with ExitStack() as undo:
        executors: list[Executor] = []
        for (graph, module), own, footprint in zip(
            parts, plan.settings, plan.footprints, strict=True
        ):
            settings = replace(
                own,
                capacities=capacities(
                    graph.states, need.n_ctx, need.max_rows, fitting.spare, fitting.slots
                ),
                room=fitting.room and fitting.room.share(footprint.packed / need.footprint.packed),
            )
            executors.append(module.prepare(graph, whole.tensors, settings, progress))
            undo.callback(executors[-1].close)
        undo.pop_all()
    return executors[0] if len(executors) == 1 else PartsExecutor(executors)


def bytes_per_token(graph: Graph, tensors: Mapping[str, QTensor]) -> int:
    """Bytes of the weights that one decoded token reads: all but a table that is only looked up,
    and the experts of a mixture that it is not sent to.
    """
    return round(sum(tensors[name].n_bytes * share for name, share in graph.shares().items()))


def build_tokenizer(metadata: Mapping[str, object], n_vocab: int, where: str) -> Tokenizer:
    """The tokenizer of a file, ready to use. Raises VocabError for one unlike the model."""
    tokenizer = load_tokenizer(metadata, where)
    if tokenizer.n_vocab != n_vocab:
        raise VocabError(
            f"{where}: the vocabulary has {tokenizer.n_vocab} tokens, the model's output {n_vocab}"
        )
    tokenizer.prepare()
    return tokenizer


def default_context(n_ctx_train: int) -> int:
    """The positions of one sequence where none are asked for."""
    return min(n_ctx_train, _DEFAULT_N_CTX)


def _context(asked: int | None, n_ctx_train: int) -> int:
    if asked is None:
        return default_context(n_ctx_train)
    if asked > n_ctx_train:
        raise InputError(
            f"n_ctx is {asked}, the model was trained for {n_ctx_train}; ask for at most that"
        )
    return asked

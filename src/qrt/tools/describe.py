"""What a model file holds and where each op of it would run, read from its header alone."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.backends.base import Settings, kv_types
from qrt.backends.cpu.placement import plan_placement
from qrt.backends.cpu.states import kv_bytes, unit_bytes
from qrt.backends.cpu.tuning import Tuning, read_tuning
from qrt.config import read_env
from qrt.errors import BackendError, QrtError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.free_memory import free_memory
from qrt.graph.graph import Graph
from qrt.graph.state import KV, StateGroup
from qrt.runtime.capacity import needs
from qrt.runtime.fitting import Need, fit
from qrt.runtime.heads import vector_width
from qrt.runtime.loader import bytes_per_token, default_context
from qrt.runtime.sampler import recommended_sampling

_SHOWN_ITEMS = 4
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class TypeTotal:
    """All tensors of one type."""

    qtype: str
    n_tensors: int
    n_params: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a model with a context of `n_ctx`, which it gets when none is asked for."""

    n_ctx: int
    n_bytes: int
    """All of it: packed weights, keys and values, working memory, the process."""
    packed_bytes: int
    free_bytes: int | None
    """None where the system does not say."""
    limit: str
    """What leaves so much."""
    verdict: str
    """Whether it fits, and what to do if not."""


@dataclass(frozen=True, slots=True)
class Running:
    """How a model would run here."""

    n_layers: int
    dim: int
    n_vocab: int
    n_ctx_train: int
    pooling: str | None
    """What vectors of texts are made of; None: it gives answers."""
    embedding_dim: int | None
    n_active_params: int
    """What a token needs: without the experts of a mixture that it is not sent to."""
    weight_bytes_per_token: int
    kv_type: str
    kv_bytes_per_token: int
    fixed_state_bytes: int
    """Of the states of recurrent layers, whatever the length of a sequence."""
    states: tuple[StateGroup, ...]
    """What its layers remember of a sequence."""
    placement: dict[str, dict[str, int]]
    """Kind of op -> where it runs -> how many of them."""
    tuning: Tuning
    memory: Memory

    def state_bytes(self, n_ctx: int) -> int:
        """Memory of a sequence of `n_ctx` positions: its pages, fewer behind windows, and slots."""
        held = zip(self.states, needs(self.states, n_ctx, 1), strict=True)
        return sum(unit_bytes(group, self.kv_type) * n_units for group, n_units in held)


@dataclass(frozen=True, slots=True)
class Description:
    """A model file. `running` is None where the model cannot run, for the reason `why_not`."""

    path: str
    gguf_version: int
    file_bytes: int
    n_params: int
    tensors: tuple[TypeTotal, ...]
    metadata: dict[str, object]
    """Long arrays and texts are cut short."""
    sampling: dict[str, Any]
    """The sampling that the file recommends."""
    running: Running | None
    why_not: QrtError | None


def describe(path: str | os.PathLike[str], kv_type: str = "f16") -> Description:
    """Reads a file's header. Raises GGUFError if it is not a readable GGUF file, InputError for an
    unknown kv_type.
    """
    kv_types(kv_type)
    with open_gguf(path) as file:
        running, why_not = None, None
        try:
            running = _running(file.metadata, file.tensors, str(path), kv_type)
        except QrtError as error:
            why_not = error
        totals = tuple(type_totals(file.tensors))
        return Description(
            path=str(path),
            gguf_version=file.version,
            file_bytes=file.file_bytes,
            n_params=sum(total.n_params for total in totals),
            tensors=totals,
            metadata={key: _short(value) for key, value in file.metadata.items()},
            sampling=recommended_sampling(file.metadata, str(path)),
            running=running,
            why_not=why_not,
        )


def type_totals(tensors: Mapping[str, QTensor]) -> Iterator[TypeTotal]:
    """The tensors by type, the type that takes most bytes first."""
    by_type: dict[str, list[QTensor]] = {}
    for tensor in tensors.values():
        by_type.setdefault(tensor.qtype.name, []).append(tensor)
    totals = [
        TypeTotal(
            qtype=qtype,
            n_tensors=len(group),
            n_params=sum(math.prod(tensor.shape) for tensor in group),
            n_bytes=sum(tensor.n_bytes for tensor in group),
        )
        for qtype, group in by_type.items()
    ]
    yield from sorted(totals, key=lambda total: -total.n_bytes)


def _running(
    metadata: Mapping[str, object], tensors: Mapping[str, QTensor], where: str, kv_type: str
) -> Running:
    graph = build_graph(metadata, tensors, where)
    tuning = read_tuning(read_env())
    placement: dict[str, Counter[str]] = {}
    for op, runs in plan_placement(graph, tensors, kv_type):
        placement.setdefault(op.split()[0], Counter())[runs] += 1
    return Running(
        n_layers=graph.n_layers,
        dim=graph.dim,
        n_vocab=graph.n_vocab,
        n_ctx_train=graph.n_ctx_train,
        pooling=graph.pooling,
        embedding_dim=None if graph.pooling is None else vector_width(graph),
        n_active_params=graph.active_params(),
        weight_bytes_per_token=bytes_per_token(graph, tensors),
        kv_type=kv_type,
        kv_bytes_per_token=kv_bytes(graph.states, kv_type, 1),
        fixed_state_bytes=sum(
            unit_bytes(group, kv_type) for group in graph.states if not isinstance(group, KV)
        ),
        states=graph.states,
        placement={kind: dict(counts) for kind, counts in placement.items()},
        tuning=tuning,
        memory=_memory(graph, tensors, where, kv_type, tuning.choices.prefill_rows),
    )


def _memory(
    graph: Graph, tensors: Mapping[str, QTensor], where: str, kv_type: str, prefill_rows: int
) -> Memory:
    n_ctx = default_context(graph.n_ctx_train)
    max_rows = min(n_ctx, prefill_rows)
    footprint = cpu.footprint(graph, tensors, Settings(1, (), max_rows, kv_type, n_ctx))
    need, free = Need(footprint, graph.states, n_ctx, max_rows), free_memory()
    try:
        fits = fit(need, free, where).room is None
        verdict = "fits" if fits else "packed weights do not fit: --pack reads them from the disk"
    except BackendError as error:
        verdict = str(error)
    return Memory(n_ctx, need.n_bytes, footprint.packed, free.n_bytes, free.limit, verdict)


def _short(value: object) -> object:
    """A value that can be shown: arrays and texts cut short, with their full length."""
    if isinstance(value, str):
        over = len(value) - _SHOWN_CHARACTERS
        return value if over <= 0 else f"{value[:_SHOWN_CHARACTERS]}... ({over} more characters)"
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, Sequence | np.ndarray):
        return value
    first = [_short(item) for item in value[:_SHOWN_ITEMS]]
    over = len(value) - len(first)
    return first if over <= 0 else [*first, f"... ({over} more)"]

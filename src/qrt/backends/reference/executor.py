"""Runs a graph op by op in NumPy: slow, obvious, the measure of every other backend."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import (
    Cancelled,
    Choices,
    Footprint,
    PlainRows,
    Settings,
    check_batch,
    check_context,
    kv_types,
)
from qrt.backends.reference.ops import run, runner
from qrt.backends.reference.step import Array, Pages, Step
from qrt.config import Env
from qrt.formats.cache_types import CACHE_TYPES
from qrt.formats.qtensor import QTensor
from qrt.formats.qtype import QType
from qrt.graph.batch import Batch
from qrt.graph.graph import Graph
from qrt.graph.op import Op
from qrt.graph.state import KV, PAGE_LEN, StateGroup
from qrt.progress import Progress


def through(qtype: QType, rows: Array) -> Array:
    """What a cache of `qtype` keeps of rows (n_kv_heads, width)."""
    assert qtype.quantize is not None
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 32))).astype(np.float32)
    kept = qtype.dequantize(qtype.quantize(padded.reshape(-1, qtype.block_size)))
    return kept.reshape(padded.shape)[:, : rows.shape[1]].astype(np.float64)


class ReferenceExecutor(PlainRows):
    """A prepared model: weights in float64, pages of what the type of the cache keeps."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        pages: Mapping[int, Pages],
        slots: Mapping[tuple[str, int], Array],
        settings: Settings,
    ) -> None:
        self.settings = settings
        self._graph = graph
        self._weights = weights
        self._pages = pages
        self._slots = slots
        self._cancelled = threading.Event()

    def step(self, batch: Batch, hidden: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Runs one step; see `qrt.backends.base.Executor`."""
        check_batch(batch, self._graph, self.settings, hidden)
        graph = self._graph
        if graph.decoder_start is None:
            return self._run(graph.ops, batch, hidden)[graph.output].astype(np.float32)
        texts, others = batch.passes
        if texts.segments:
            self._run(graph.ops[: graph.n_encoding], texts)
        if not others.segments:
            return np.empty((0, graph.n_vocab), np.float32)
        return self._run(graph.ops[graph.n_encoding :], others)[graph.output].astype(np.float32)

    def _run(
        self, ops: Iterable[Op], batch: Batch, hidden: NDArray[np.float32] | None = None
    ) -> dict[str, Array]:
        """The values that ops make of a batch."""
        step = Step(self._graph, batch, self._weights, self._pages, self._slots, hidden, {})
        with np.errstate(over="ignore", invalid="ignore"):
            for op in ops:
                if self._cancelled.is_set():
                    raise Cancelled
                made = run(step, op)
                if op.out is not None and made is not None:
                    step.values[op.out] = made
        return step.values

    def copy_page(self, group: int, source: int, target: int) -> None:
        """Copies a page of a KV group, of all its layers, over another."""
        for layer in self._graph.states[group].layers:
            pages = self._pages[layer]
            pages.k[target], pages.v[target] = pages.k[source], pages.v[source]

    def page(self, group: int, number: int) -> list[NDArray[np.uint8]]:
        """The memory of a page, K and V of each layer, or of a slot, the state of each."""
        state = self._graph.states[group]
        if not isinstance(state, KV):
            slots = [self._slots[state.kind, layer] for layer in state.layers]
            return [array[number].view(np.uint8) for array in slots]
        arrays = []
        for layer in state.layers:
            pages = self._pages[layer]
            arrays += [pages.k] if state.v_in_k else [pages.k, pages.v]
        return [array[number].reshape(-1).view(np.uint8) for array in arrays]

    def page_digest(self) -> bytes:
        """There is one way to compute them here."""
        return b"reference"

    def cancel(self) -> None:
        """Stops the step under way before its next op, and every later one."""
        self._cancelled.set()

    def placement(self) -> list[tuple[str, str]]:
        """Every op runs here."""
        names = [f"{type(op).__name__} {op.label}" for op in self._graph.ops]
        return [(name, "reference: NumPy, float64") for name in names]

    def close(self) -> None:
        """Frees weights and pages."""
        self._weights, self._pages, self._slots = {}, {}, {}


def choices(env: Env, n_threads: int | None) -> Choices:  # noqa: ARG001
    """Nothing is tuned here."""
    return Choices(prefill_threads=n_threads)


def check(graph: Graph) -> None:
    """Raises BackendError where an op of the graph has no meaning here."""
    for op in graph.ops:
        runner(op)


def footprint(
    graph: Graph,
    tensors: Mapping[str, QTensor],
    settings: Settings,  # noqa: ARG001
) -> Footprint:
    """Weights and states as float64, pages as float32; not what is computed on the way."""
    weights = sum(8 * math.prod(tensors[name].shape) for name in graph.weights)
    return Footprint(0, weights, tuple(map(_unit_bytes, graph.states)))


def _unit_bytes(group: StateGroup) -> int:
    """Bytes of one page, or of one slot, of a group."""
    if not isinstance(group, KV):
        return 2 * len(group.layers) * group.n_bytes
    widths = group.k_width + (0 if group.v_in_k else group.v_width)
    return 4 * len(group.layers) * PAGE_LEN * group.n_kv_heads * widths


def prepare(
    graph: Graph, tensors: Mapping[str, QTensor], settings: Settings, progress: Progress
) -> ReferenceExecutor:
    """Dequantizes all weights and allocates the pages and slots of every layer.

    Raises InputError for an unknown `settings.kv_type`, and where `check_context` does.
    """
    check_context(graph, settings)
    weights = {}
    for done, (name, shape) in enumerate(graph.weights.items()):
        progress("dequantize weights", done, len(graph.weights))
        weights[name] = tensors[name].dequantize().astype(np.float64).reshape(shape)
    progress("dequantize weights", len(graph.weights), len(graph.weights))
    pages: dict[int, Pages] = {}
    slots: dict[tuple[str, int], Array] = {}
    for group, capacity in zip(graph.states, settings.capacities, strict=True):
        for layer in group.layers:
            if isinstance(group, KV):
                pages[layer] = _pages(group, capacity, settings.kv_type)
            else:
                slots[group.kind, layer] = np.zeros((capacity, group.n_bytes // 4))
    return ReferenceExecutor(graph, weights, pages, slots, settings)


def _pages(group: KV, n_pages: int, kv_type: str) -> Pages:
    """Pages of one layer."""
    k_rounded, v_rounded = (partial(through, CACHE_TYPES[part]) for part in kv_types(kv_type))
    shape = (n_pages, PAGE_LEN, group.n_kv_heads)
    k = np.zeros((*shape, group.k_width), np.float32)
    v = k[..., : group.v_width] if group.v_in_k else np.zeros((*shape, group.v_width), np.float32)
    return Pages(k, v, k_rounded, v_rounded)

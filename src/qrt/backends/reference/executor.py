"""Runs a graph op by op in NumPy: slow, obvious, the measure of every other backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Cancelled, Progress, Settings, kv_types
from qrt.backends.reference.ops import OPS, Array, Pages, Step, as_given
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import PAGE_LEN, Batch, Phase
from qrt.graph.ir import Attention, Graph


def through_blocks(qtype: str, rows: Array) -> Array:
    """What a cache of `qtype` keeps of rows (n_kv_heads, head_dim)."""
    quantize = QTYPES[qtype].quantize
    assert quantize is not None
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 32))).astype(np.float32)
    kept = QTYPES[qtype].dequantize(quantize(padded.reshape(-1, 32))).reshape(padded.shape)
    return kept[:, : rows.shape[1]].astype(np.float64)


CACHES: dict[str, tuple[type[np.floating], Callable[[Array], Array]]] = {
    "f16": (np.float16, as_given),
    "f32": (np.float32, as_given),
    "q8_0": (np.float32, partial(through_blocks, "Q8_0")),
    "q4_0": (np.float32, partial(through_blocks, "Q4_0")),
}
"""The type of the pages, and what rows go through before they are stored."""


class ReferenceExecutor:
    """A prepared model: weights in float64, pages in the type of the cache."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        pages: Mapping[int, Pages],
        settings: Settings,
    ) -> None:
        self.settings = settings
        self._graph = graph
        self._weights = weights
        self._pages = pages
        self._cancelled = threading.Event()

    def step(self, batch: Batch, phase: Phase) -> NDArray[np.float32]:  # noqa: ARG002
        """Logits (n_logits, n_vocab), not finite where weights are not; both phases run alike.

        Raises Cancelled.
        """
        self._cancelled.clear()
        step = Step(batch, self._weights, self._pages, {})
        with np.errstate(over="ignore", invalid="ignore"):
            for op in self._graph.ops:
                if self._cancelled.is_set():
                    raise Cancelled
                step.values[op.out] = OPS[type(op)](step, op)
            return step.values[self._graph.output].astype(np.float32)

    def cancel(self) -> None:
        """Stops the step under way before its next op."""
        self._cancelled.set()

    def placement(self) -> list[tuple[str, str]]:
        """Every op runs here."""
        return [(op.out, "reference: NumPy, float64") for op in self._graph.ops]

    def close(self) -> None:
        """Frees weights and pages."""
        self._weights, self._pages = {}, {}


def prepare(
    graph: Graph, tensors: Mapping[str, QTensor], settings: Settings, progress: Progress
) -> ReferenceExecutor:
    """Dequantizes all weights and allocates `settings.n_pages` pages per layer.

    Raises InputError for an unknown `settings.kv_type`.
    """
    (k_dtype, k_rounded), (v_dtype, v_rounded) = (CACHES[t] for t in kv_types(settings.kv_type))
    weights = {}
    for done, name in enumerate(graph.weights):
        progress("dequantize weights", done, len(graph.weights))
        weights[name] = tensors[name].dequantize().astype(np.float64)
    progress("dequantize weights", len(graph.weights), len(graph.weights))

    pages = {}
    for op in graph.ops:
        if isinstance(op, Attention):
            shape = (settings.n_pages, PAGE_LEN, op.n_kv_heads, op.head_dim)
            k, v = np.zeros(shape, k_dtype), np.zeros(shape, v_dtype)
            pages[op.layer] = Pages(k, v, k_rounded, v_rounded)
    return ReferenceExecutor(graph, weights, pages, settings)

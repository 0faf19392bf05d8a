"""Puts low-rank adapters into a graph: beside each matmul that they change, two narrow ones."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qrt.arch.adapters import LowRank
from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f16 import F16
from qrt.graph.graph import Graph
from qrt.graph.op import Op
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.expert_linear import ExpertLinear
from qrt.graph.ops.expert_lora_down import ExpertLoraDown
from qrt.graph.ops.expert_lora_up import ExpertLoraUp
from qrt.graph.ops.gather import Gather
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.lora_down import PANEL, LoraDown, n_runs
from qrt.graph.ops.lora_up import MAX_RANKS, LoraUp, Part

_TOP = 14
"""Matrices are multiplied by a power of two, so that their values stay just below two to this:
float16 has 28 more powers of two below it."""
_MAX_FACTOR = 1e30

Matmul = Linear | ExpertLinear


def with_adapters(
    graph: Graph, adapters: Sequence[Mapping[str, LowRank]]
) -> tuple[Graph, dict[str, QTensor]]:
    """The graph with adapters, each given as what it adds to which weight, and the tensors of the
    weights that are new.

    What meets the same rows is joined to one narrow matmul. Raises ArchError where an op cannot be
    adapted, or values are not finite.
    """
    rewriting = _Rewriting(graph, adapters)
    return rewriting.run(), rewriting.tensors


class _Rewriting:
    def __init__(self, graph: Graph, adapters: Sequence[Mapping[str, LowRank]]) -> None:
        self._graph, self._adapters = graph, adapters
        self._widths, self._weights = dict(graph.widths), dict(graph.weights)
        self._ops: list[Op] = []
        self._gathers = {op.out: op for op in graph.ops if isinstance(op, Gather)}
        self._reading: dict[str, list[Matmul]] = defaultdict(list)  # adapted ones, by x
        self._places: dict[tuple[str, int], tuple[int, float]] = {}
        """For a matmul's value and an adapter: where its ranks begin, and what they lack."""
        self.tensors: dict[str, QTensor] = {}

    def run(self) -> Graph:
        """The new graph."""
        for op in self._graph.ops:
            if isinstance(op, Matmul) and self._of(op.weight):
                self._reading[op.x].append(op)
        starts = []
        for number, op in enumerate(self._graph.ops):
            if number in self._graph.starts:
                starts.append(len(self._ops))
            if isinstance(op, Matmul) and self._of(op.weight):
                self._matmul(op)
            elif isinstance(op, Embed) and self._of(op.table):
                self._embed(op)
            else:
                self._check(op)
                self._ops.append(op)
        return replace(
            self._graph,
            ops=tuple(self._ops),
            starts=tuple(starts),
            weights=self._weights,
            widths=self._widths,
            n_adapters=len(self._adapters),
        )

    def _of(self, weight: str) -> list[tuple[int, LowRank]]:
        """The adapters of a weight."""
        return [(n, found[weight]) for n, found in enumerate(self._adapters) if weight in found]

    def _append(self, op: Op) -> None:
        assert op.out is not None
        self._widths[op.out] = op.width(self._widths)
        for use in op.weights(self._widths):
            self._weights[use.name] = use.shape
        self._ops.append(op)

    def _put(self, name: str, values: NDArray[np.float16]) -> str:
        """A new tensor of this name."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.tensors[name] = QTensor(name, F16, values.shape, data)
        return name

    def _matmul(self, op: Matmul) -> None:
        """The matmul with a name of its own, and what adapters add to it."""
        t, base = f"{op.x}.lora", f"{op.out}.base"
        if t not in self._widths:
            self._down(op, t)
        self._append(replace(op, out=base))
        parts, matrices = [], []
        for number, low in self._of(op.weight):
            at, lacks = self._places[op.out, number]
            values, factor = _halves(low.up())
            parts.append(_part(number, low, at, factor * lacks))
            matrices.append(values)
        name = self._put(f"{op.out}.lora_b", np.concatenate(matrices, axis=-1))
        ends = tuple(_checked(parts, op.weight)), n_runs(self._widths[self._source(op)])
        if isinstance(op, Linear):
            self._append(LoraUp(op.out, base, t, name, *ends))
        else:
            sizes = op.n_experts, op.n_used
            self._append(ExpertLoraUp(op.out, base, t, op.route, name, *sizes, *ends))

    def _source(self, op: Matmul) -> str:
        """The float32 rows that a matmul reads: those before they were routed have no copy."""
        gather = self._gathers.get(op.x)
        return op.x if gather is None else gather.x

    def _down(self, op: Matmul, t: str) -> None:
        """The first product of all that reads what `op` does."""
        adapters: list[int] = []
        matrices = []
        for other in self._reading[op.x]:
            for number, low in self._of(other.weight):
                values, factor = _halves(low.down())
                self._places[other.out, number] = PANEL * len(adapters), factor
                matrices.append(_filled(values, -2))
                adapters += [number] * (matrices[-1].shape[-2] // PANEL)
        name, x = self._put(f"{op.x}.lora_a", np.concatenate(matrices, axis=-2)), self._source(op)
        if isinstance(op, Linear):
            self._append(LoraDown(t, x, name, tuple(adapters)))
            return
        gather = self._gathers.get(op.x)
        weighted = gather is not None and gather.weighted
        sizes = op.n_experts, op.n_used, tuple(adapters)
        self._append(ExpertLoraDown(t, op.route, x, name, *sizes, gather is None, weighted))

    def _embed(self, op: Embed) -> None:
        """The table, and beside it one of ranks."""
        t, base = f"{op.out}.ranks", f"{op.out}.base"
        tables: list[NDArray[np.float16]] = []
        matrices, parts = [], []
        for number, low in self._of(op.table):
            table, lacks = _halves(low.up())
            values, factor = _halves(low.down().T)
            at = sum(other.shape[1] for other in tables)
            parts.append(_part(number, low, at, factor * lacks))
            tables.append(_filled(table, -1))
            matrices.append(values)
        name = self._put(t, np.concatenate(tables, axis=1))
        width = self.tensors[name].shape[1]
        self._append(replace(op, out=base))
        self._append(Embed(t, name, op.n_vocab, width, op.scale, op.encodes))
        name = self._put(f"{op.out}.lora_b", np.concatenate(matrices, axis=1))
        self._append(LoraUp(op.out, base, t, name, tuple(_checked(parts, op.table)), 1))

    def _check(self, op: Op) -> None:
        """Raises ArchError where an adapter is for what cannot be adapted."""
        for use in op.weights(self._graph.widths):
            for _, low in self._of(use.name):
                raise ArchError(
                    f"{low.where}: tensor {low.a.name!r}: adapters of {use.name!r} are not "
                    "supported; merge this one into its model"
                )


def _part(number: int, low: LowRank, at: int, factor: float) -> Part:
    if abs(factor := factor * low.factor) > _MAX_FACTOR:
        raise ArchError(f"{low.where}: tensor {low.a.name!r}: its values are too large")
    return Part(number, low.rank, at, factor)


def _checked(parts: Sequence[Part], weight: str) -> Sequence[Part]:
    n_ranks = sum(-(-part.rank // PANEL) * PANEL for part in parts)
    if n_ranks > MAX_RANKS:
        problem = f"adapters of together {n_ranks} ranks"
        raise ArchError(f"{problem} are for tensor {weight!r}; at most {MAX_RANKS} are supported")
    return parts


def _halves(values: NDArray[np.float32]) -> tuple[NDArray[np.float16], float]:
    """The values as float16, times a power of two, and what they have to be multiplied with."""
    most = float(np.abs(values).max(initial=0))
    shift = _TOP - math.frexp(most)[1] if most else 0
    return np.ldexp(values, shift).astype(np.float16), math.ldexp(1.0, -shift)


def _filled(values: NDArray[np.float16], axis: int) -> NDArray[np.float16]:
    """Zeros behind the values of an axis, up to whole panels."""
    missing = [(0, 0)] * values.ndim
    missing[axis] = (0, -values.shape[axis] % PANEL)
    return np.pad(values, missing)

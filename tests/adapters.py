"""Low-rank adapters of random numbers: as files, and merged into weights by hand."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_models import tensor

from qrt.arch.adapters import read_adapter
from qrt.arch.lora import with_adapters
from qrt.formats.qtensor import QTensor
from qrt.formats.qtype import QType
from qrt.formats.quants.f32 import F32
from qrt.formats.writer import write_gguf
from qrt.graph.graph import Graph

Pairs = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""The two matrices of each weight, as files have them."""

EMBEDDING = "token_embd.weight"
Named = Callable[[str], bool]


def is_matrix(name: str) -> bool:
    """Whether an adapter may be for it."""
    return name.endswith(".weight") and "norm" not in name and "rope" not in name


def pairs_of(graph: Graph, rank: int, seed: int = 0, named: Named = is_matrix) -> Pairs:
    """Random matrices for the weights of these names that are matrices."""
    found = {}
    for name, shape in graph.weights.items():
        if len(shape) < 2 or not named(name):
            continue
        random = np.random.default_rng(zlib.crc32(f"{name} {seed}".encode()))
        *experts, n_out, n_in = shape
        ends = ((n_out, rank), (n_in, rank)) if name == EMBEDDING else ((rank, n_in), (n_out, rank))
        a, b = (random.normal(0, 1, (*experts, *end)) for end in ends)
        b *= 0.5 / n_in**0.5 / rank**0.5
        found[name] = (a.astype(np.float32), b.astype(np.float32))
    return found


def metadata_for(arch: str, alpha: float | None) -> dict[str, object]:
    """That of an adapter."""
    found: dict[str, object] = {
        "general.architecture": arch,
        "general.type": "adapter",
        "adapter.type": "lora",
    }
    return found if alpha is None else {**found, "adapter.lora.alpha": float(alpha)}


def adapter_tensors(pairs: Pairs) -> dict[str, QTensor]:
    """As they stand in a file."""
    named = {
        f"{name}.lora_{end}": values
        for name, pair in pairs.items()
        for end, values in zip("ab", pair, strict=True)
    }
    return {name: tensor(name, values) for name, values in named.items()}


def write_adapter(
    path: Path,
    arch: str,
    pairs: Pairs,
    alpha: float | None = None,
    qtype: QType = F32,
    more: Mapping[str, object] | None = None,
) -> Path:
    """A file of `qtype`, with `more` metadata."""
    assert qtype.quantize is not None
    sources = []
    for name, one in adapter_tensors(pairs).items():
        values = one.dequantize()
        fits = values.shape[-1] % qtype.block_size == 0
        kind = qtype if fits else F32
        blocks = values.reshape(-1, kind.block_size)
        sources.append((name, kind, values.shape, kind.quantize(blocks)))
    write_gguf(path, {**metadata_for(arch, alpha), **(more or {})}, sources)
    return path


def adapted(
    graph: Graph, tensors: Mapping[str, QTensor], every: Iterable[tuple[Pairs, float | None]]
) -> tuple[Graph, dict[str, QTensor]]:
    """A model with adapters, each given with its alpha."""
    found = [
        read_adapter(metadata_for(graph.arch, alpha), adapter_tensors(pairs), "a.gguf", graph)
        for pairs, alpha in every
    ]
    changed, more = with_adapters(graph, found)
    return changed, {**tensors, **more}


def merged(
    tensors: Mapping[str, QTensor], every: Iterable[tuple[Pairs, float]]
) -> dict[str, QTensor]:
    """The tensors with adapters in them, each given with what it is multiplied with."""
    values = {name: one.dequantize().astype(np.float64) for name, one in tensors.items()}
    touched = set()
    for pairs, factor in every:
        for name, (a, b) in pairs.items():
            product = a @ b.T if name == EMBEDDING else b.astype(np.float64) @ a
            scale = values.get(name.removesuffix("weight") + "scale", np.ones(1))  # of the weight
            shape = (-1, *(1,) * (product.ndim - 1))
            values[name] += factor * product / scale.reshape(shape)
            touched.add(name)
    return {
        name: tensor(name, values[name]) if name in touched else tensors[name] for name in tensors
    }

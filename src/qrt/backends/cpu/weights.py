"""A weight's life: mapped blocks in, packed panels or float32 vectors out, file pages dropped.

A table that is only looked up stays in the file: a token reads one row of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Progress
from qrt.backends.cpu.memory import address, reserve
from qrt.formats.qtensor import QTensor
from qrt.graph.graph import Graph
from qrt.kernels.layout import PACK, STEP, fill
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import Team, aligned, lone_record


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight in memory: panels or rows of `qtype`, or a float32 vector."""

    data: NDArray[np.uint8]
    qtype: str
    shape: tuple[int, ...]
    packed: bool = True

    @property
    def address(self) -> int:
        return address(self.data)


def matrix_names(graph: Graph) -> list[str]:
    """The weights that are multiplied with or looked up, in order of first use."""
    return list(dict.fromkeys(use.name for use in graph.uses() if use.role != "vector"))


def packed_names(graph: Graph) -> list[str]:
    """The weights that are packed: all that matmuls read."""
    return list(dict.fromkeys(use.name for use in graph.uses() if use.role == "matmul"))


def load_weights(
    graph: Graph,
    tensors: Mapping[str, QTensor],
    library: Library,
    team: Team,
    progress: Progress,
    kept: Mapping[str, NDArray[np.uint8]],
) -> dict[str, Weight]:
    """All weights of `graph`; tensors lose their mapped pages as soon as they are packed.

    Matrices in `kept` are packed already.
    """
    matrices, packed = matrix_names(graph), packed_names(graph)
    weights = {
        name: _vector(tensors[name])
        for name in graph.weights
        if name not in matrices and name in tensors
    }
    for name in set(matrices) - set(packed):
        table = tensors[name]
        weights[name] = Weight(table.data, table.qtype.name, table.shape, packed=False)
    total = sum(len(tensors[name].data) for name in packed)
    done = 0
    # the largest first: its mapped pages are gone before the panels of all others stand
    for name in sorted(packed, key=lambda name: -len(tensors[name].data)):
        tensor = tensors[name]
        panels = kept.get(name)
        if panels is None:
            panels = _pack(tensor, library, team)
            tensor.drop_pages()
        weights[name] = Weight(panels, tensor.qtype.name, tensor.shape)
        done += len(tensor.data)
        progress("loading weights", done, total)
    return weights


def _vector(tensor: QTensor) -> Weight:
    """float32, with room to read 16 past any start."""
    values = tensor.dequantize().reshape(-1)
    data = aligned(4 * (values.size + 16))
    data.view(np.float32)[: values.size] = values
    return Weight(data, "F32", tensor.shape)


def packed_bytes(tensor: QTensor) -> int:
    """Bytes of a matrix, or of several in a row, in panels: whole panels of 16 rows each."""
    *several, n_rows, _ = tensor.shape
    return math.prod(several) * -(-n_rows // 16) * 16 * tensor.row_bytes


def _pack(tensor: QTensor, library: Library, team: Team) -> NDArray[np.uint8]:
    *several, n_rows, n_in = tensor.shape
    n_matrices, row_bytes = math.prod(several), tensor.row_bytes
    data = reserve(packed_bytes(tensor), huge=True)
    sources = address(tensor.data) + n_rows * row_bytes * np.arange(n_matrices)
    targets = address(data) + len(data) // max(n_matrices, 1) * np.arange(n_matrices)
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        _pack_matrix(tensor.qtype.name, source, target, n_rows, n_in, row_bytes, library, team)
    return data


def _pack_matrix(
    qtype: str,
    source: int,
    target: int,
    n_rows: int,
    n_in: int,
    row_bytes: int,
    library: Library,
    team: Team,
) -> None:
    fmt = PANEL_FORMATS[qtype]
    n_blocks, block_bytes = n_in // fmt.block_size, fmt.block_bytes
    if not fmt.quantized:  # a row of plain numbers is one long block
        n_blocks, block_bytes = 1, row_bytes
    fields = np.array(fmt.table(n_in), np.int64)
    values = {
        "source": source,
        "target": target,
        "n_rows": n_rows,
        "row_bytes": row_bytes,
        "n_blocks": n_blocks,
        "block_bytes": block_bytes,
        "fields": address(fields),
        "n_fields": len(fmt.fields),
    }
    args = np.array(list(fill(PACK, values)), np.int64)
    step = aligned(STEP.size)
    team.run(lone_record(library.address("pack"), args), address(step))

"""A weight's life: mapped blocks in, packed panels or float32 vectors out, file pages dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Progress
from qrt.backends.cpu.memory import address, reserve
from qrt.formats.qtensor import QTensor
from qrt.graph.ir import Embed, Graph, Linear
from qrt.kernels.layout import PACK, STEP, fill
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import Team, aligned, lone_record


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight in memory: panels of `qtype`, or a float32 vector."""

    data: NDArray[np.uint8]
    qtype: str
    shape: tuple[int, ...]

    @property
    def address(self) -> int:
        return address(self.data)


def matrix_names(graph: Graph) -> list[str]:
    """The weights that matmuls and embeddings read, in order of first use."""
    names = [
        op.table if isinstance(op, Embed) else op.weight
        for op in graph.ops
        if isinstance(op, Embed | Linear)
    ]
    return list(dict.fromkeys(names))


def load_weights(
    graph: Graph,
    tensors: Mapping[str, QTensor],
    library: Library,
    team: Team,
    progress: Progress,
) -> dict[str, Weight]:
    """All weights of `graph`; tensors lose their mapped pages as soon as they are packed."""
    matrices = matrix_names(graph)
    weights = {
        name: _vector(tensors[name])
        for name in graph.weights
        if name not in matrices and name in tensors
    }
    total = sum(len(tensors[name].data) for name in matrices)
    done = 0
    for name in matrices:
        weights[name] = _pack(tensors[name], library, team)
        tensors[name].drop_pages()
        done += len(tensors[name].data)
        progress("loading weights", done, total)
    return weights


def _vector(tensor: QTensor) -> Weight:
    """float32, with room to read 16 past any start."""
    values = tensor.dequantize().reshape(-1)
    data = aligned(4 * (values.size + 16))
    data.view(np.float32)[: values.size] = values
    return Weight(data, "F32", tensor.shape)


def _pack(tensor: QTensor, library: Library, team: Team) -> Weight:
    fmt = PANEL_FORMATS[tensor.qtype.name]
    n_rows, n_in = tensor.shape
    row_bytes = n_in // fmt.block_size * fmt.block_bytes
    data = reserve(-(-n_rows // 16) * 16 * row_bytes, huge=True)
    n_blocks, block_bytes = n_in // fmt.block_size, fmt.block_bytes
    if not fmt.quantized:  # a row of plain numbers is one long block
        n_blocks, block_bytes = 1, row_bytes
    fields = np.array(fmt.table(n_in), np.int64)
    values = {
        "source": address(tensor.data),
        "target": address(data),
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
    return Weight(data, tensor.qtype.name, tensor.shape)

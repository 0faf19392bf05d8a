"""A weight's life: blocks read from the file, packed panels or float32 vectors out.

Nothing of the file is mapped: it may change once its weights are loaded. A table that is only
looked up is not packed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.fetch import SHARE, Call, Fetcher, reader, run_calls
from qrt.backends.cpu.memory import address, reserve
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor, Region
from qrt.graph.graph import Graph
from qrt.kernels.layout import PACK, fill
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import Team, aligned
from qrt.progress import Progress


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


def matrix_types(graph: Graph, tensors: Mapping[str, QTensor]) -> dict[str, str]:
    """The type of each of them. Raises BackendError where kernels cannot read one."""
    types = {name: tensors[name].qtype.name for name in matrix_names(graph)}
    for name, qtype in types.items():
        if qtype not in PANEL_FORMATS:
            known = ", ".join(PANEL_FORMATS)
            raise BackendError(
                f"tensor {name!r}: expected a type that has kernels ({known}), got "
                f"{qtype}; convert the file anew"
            )
    return types


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
    """All weights of `graph`: those in `kept`, which are packed already, and copies of the others.

    Raises GGUFError where the file changed since it was opened.
    """
    matrices, packed = matrix_names(graph), packed_names(graph)
    weights = {
        name: _vector(tensors[name])
        for name in graph.weights
        if name not in matrices and name in tensors
    }
    for name in set(matrices) - set(packed):
        weights[name] = _table(tensors[name], library, team)
    total = sum(tensors[name].n_bytes for name in packed)
    done = 0
    for name in packed:
        tensor = tensors[name]
        panels = kept.get(name)
        if panels is None:
            panels = _pack(tensor, library, team)
        weights[name] = Weight(panels, tensor.qtype.name, tensor.shape)
        done += tensor.n_bytes
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


def _table(tensor: QTensor, library: Library, team: Team) -> Weight:
    """Rows as they are in the file."""
    if isinstance(tensor.source, Region):
        data = reserve(tensor.n_bytes, huge=True)
        Fetcher(tensor.source.file, library, team).fetch([(tensor.source.start, data)])
    else:
        data = tensor.source
    return Weight(data, tensor.qtype.name, tensor.shape, packed=False)


def _pack(tensor: QTensor, library: Library, team: Team) -> NDArray[np.uint8]:
    """Panels of a matrix, or of several, of which some are read and packed at a time.

    A thread packs what it has read itself.
    """
    fmt = PANEL_FORMATS[tensor.qtype.name]
    *several, n_rows, n_in = tensor.shape
    row_bytes = tensor.row_bytes
    target = reserve(packed_bytes(tensor), huge=True)
    n_blocks, block_bytes = n_in // fmt.block_size, fmt.block_bytes
    if not fmt.quantized:  # a row of plain numbers is one long block
        n_blocks, block_bytes = 1, row_bytes
    fields = np.array(fmt.table(n_in), np.int64)
    region = tensor.source if isinstance(tensor.source, Region) and reader() else None
    panel_bytes = 16 * row_bytes
    n_at_once = n_rows if region is None else 16 * max(1, team.n_threads * SHARE // panel_bytes)
    chunks = [
        (matrix * n_rows + row, matrix * -(-n_rows // 16) * 16 + row, min(n_at_once, n_rows - row))
        for matrix in range(math.prod(several))
        for row in range(0, n_rows, n_at_once)
    ]  # (row in the file, row in the panels, rows)

    def call(source: int, number: int) -> Call:
        _, row, n = chunks[number]
        values = {
            "source": source,
            "target": address(target) + row * row_bytes,
            "n_rows": n,
            "row_bytes": row_bytes,
            "n_blocks": n_blocks,
            "block_bytes": block_bytes,
            "fields": address(fields),
            "n_fields": len(fmt.fields),
        }
        # threads share out as many rows in the same way
        barrier = number + 1 == len(chunks) or chunks[number + 1][2] != n
        return Call("pack", fill(PACK, values), barrier)

    if region is None:
        data = tensor.data
        calls = [call(address(data) + chunks[i][0] * row_bytes, i) for i in range(len(chunks))]
        run_calls(calls, library, team)
        return target
    room = aligned(min(n_at_once, n_rows) * row_bytes)
    fetcher = Fetcher(region.file, library, team)
    calls = []
    for number, (row, _, n) in enumerate(chunks):
        at = region.start + row * row_bytes
        calls.append(fetcher.call(at, n * row_bytes, address(room), panel_bytes))
        calls.append(call(address(room), number))
    fetcher.run(calls)
    return target

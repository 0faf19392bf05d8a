"""A weight's life: blocks read from the file, packed panels or float32 vectors out.

Nothing of the file is mapped: it may change once its weights are loaded. A table that is only
looked up is not packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.memory import address, reserve
from qrt.backends.cpu.packing import Maker, Panels, Rows, packed_bytes
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor, Region
from qrt.graph.graph import Graph
from qrt.kernels.objects import Library
from qrt.kernels.panels import PANEL_FORMATS
from qrt.kernels.team import Team, aligned
from qrt.progress import Progress

LANES = 16
_VECTOR_SLACK = LANES


class Matrix(NamedTuple):
    """What stands for a matrix in memory: panels, or the rows of a table."""

    data: NDArray[np.uint8]
    packed: bool


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
    roles = ("matmul", "table")
    return list(dict.fromkeys(use.name for use in graph.uses() if use.role in roles))


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


def packed_names(graph: Graph, tensors: Mapping[str, QTensor]) -> list[str]:
    """The weights that are packed: all that matmuls read, and tables of types that kernels know in
    panels alone.
    """
    names = [use.name for use in graph.uses() if use.role == "matmul"]
    types = matrix_types(graph, tensors)
    return list(dict.fromkeys(names + [n for n, t in types.items() if PANEL_FORMATS[t].expanded]))


def matrix_bytes(graph: Graph, tensors: Mapping[str, QTensor]) -> dict[str, int]:
    """Bytes in memory of every matrix: those that are packed, then the tables."""
    packed = packed_names(graph, tensors)
    tables = [name for name in matrix_names(graph) if name not in packed]
    sizes = {name: packed_bytes(tensors[name]) for name in packed}
    return sizes | {name: tensors[name].n_bytes for name in tables}


def vector_bytes(graph: Graph, tensors: Mapping[str, QTensor]) -> int:
    """Bytes in memory of all vectors."""
    by_lanes = _by_lanes(graph)
    return sum(
        4 * (by_lanes.get(name, tensors[name].n_rows) * tensors[name].shape[-1] + _VECTOR_SLACK)
        for name in _vector_names(graph, tensors)
    )


def load_weights(
    graph: Graph,
    tensors: Mapping[str, QTensor],
    library: Library,
    team: Team,
    progress: Progress,
    kept: Mapping[str, Matrix],
) -> dict[str, Weight]:
    """All weights of `graph`: those in `kept`, and copies of the others.

    Raises GGUFError where the file changed since it was opened.
    """
    packed = packed_names(graph, tensors)
    by_lanes = _by_lanes(graph)
    weights = {
        name: _vector(tensors[name], by_lanes.get(name)) for name in _vector_names(graph, tensors)
    }
    names = matrix_bytes(graph, tensors)
    done, total = 0, sum(names.values())
    for name, n_bytes in names.items():
        tensor = tensors[name]
        matrix = kept.get(name) or _matrix(tensor, name in packed, library, team)
        weights[name] = Weight(matrix.data, tensor.qtype.name, tensor.shape, matrix.packed)
        done += n_bytes
        progress("loading weights", done, total)
    return weights


def maker_of(tensor: QTensor, packed: bool, library: Library, team: Team) -> Maker:
    """What makes a matrix."""
    return (Panels if packed else Rows)(tensor, library, team)


def _matrix(tensor: QTensor, packed: bool, library: Library, team: Team) -> Matrix:
    """All panels, or rows."""
    if not (packed or isinstance(tensor.source, Region)):
        return Matrix(tensor.source, packed)
    maker = maker_of(tensor, packed, library, team)
    data = reserve(maker.n_bytes, huge=True)
    maker.make(data, 0)
    return Matrix(data, packed)


def _vector_names(graph: Graph, tensors: Mapping[str, QTensor]) -> list[str]:
    matrices = matrix_names(graph)
    return [name for name in graph.weights if name not in matrices and name in tensors]


def _by_lanes(graph: Graph) -> dict[str, int]:
    """Rows, up to a multiple of 16, of the weights that are read with 16 rows side by side."""
    uses = (use for use in graph.uses() if use.role == "lanes")
    return {use.name: -(-use.shape[0] // LANES) * LANES for use in uses}


def _vector(tensor: QTensor, n_rows: int | None) -> Weight:
    """float32, with room to read 16 past any start; 16 of `n_rows` rows side by side, if given."""
    values = tensor.dequantize().reshape(-1)
    if n_rows is not None:
        rows = values.reshape(-1, tensor.shape[-1])
        padded = np.pad(rows, ((0, n_rows - len(rows)), (0, 0)))
        values = padded.reshape(-1, LANES, tensor.shape[-1]).swapaxes(1, 2).reshape(-1)
    data = aligned(4 * (values.size + _VECTOR_SLACK))
    data.view(np.float32)[: values.size] = values
    return Weight(data, "F32", tensor.shape)

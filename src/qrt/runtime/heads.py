"""The layers behind a pooled row: dense layers of embeddings, classifiers of rerankers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from qrt.formats.qtensor import QTensor

if TYPE_CHECKING:
    from qrt.graph.graph import Graph
    from qrt.graph.heads import Head

Row = NDArray[np.float32]
Weights = Mapping[str, Row]
RanksBy = Literal["head", "yes or no", "cosine"]


def ranks_by(graph: Graph, metadata: Mapping[str, object]) -> RanksBy | None:
    """How a model scores texts: by its classifier; by how likely it answers yes and not no, a
    language model that is called a reranker; by the cosine of vectors. None: it does not.
    """
    if graph.pooling is not None:
        return "cosine" if graph.ranking is None else "head"
    name = metadata.get("general.name")
    return "yes or no" if isinstance(name, str) and "rerank" in name.lower() else None


def vector_width(graph: Graph) -> int:
    """Values of a text's vector, of a graph with pooling."""
    return graph.dense[-1].n_out if graph.dense else graph.widths[graph.output]


def head_weights(graph: Graph, tensors: Mapping[str, QTensor]) -> Weights:
    """The tensors of all heads of a graph, as float32 in the shapes that it states."""
    return {
        name: tensors[name].dequantize().astype(np.float32).reshape(shape)
        for name, shape in graph.head_weights.items()
    }


def through(heads: Iterable[Head], weights: Weights, rows: Row) -> Row:
    """What heads make of rows (..., n_in): each row by itself, so that it has the same bits
    beside any others."""
    for head in heads:
        flat = rows.reshape(-1, head.n_in)
        made = np.stack([_layer(head, weights, row) for row in flat])
        rows = made.reshape(*rows.shape[:-1], head.n_out)
    return rows


def _layer(head: Head, weights: Weights, row: Row) -> Row:
    out = (weights[head.weight] @ np.ascontiguousarray(row)).astype(np.float64)
    if head.bias is not None:
        out += weights[head.bias]
    if head.act is not None:
        out = _ACTIVATIONS[head.act](out)
    if head.norm is not None:
        centred = out - out.mean()
        out = centred / math.sqrt(np.square(centred).mean() + head.eps) * weights[head.norm]
    return out.astype(np.float32)


def _gelu_erf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    erf = np.array([math.erf(value) for value in (x / math.sqrt(2)).tolist()])
    found: NDArray[np.float64] = x * 0.5 * (1 + erf)
    return found


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(x - x.max())
    powers /= powers.sum()
    return powers


_ACTIVATIONS: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "tanh": np.tanh,
    "gelu_erf": _gelu_erf,
    "softmax": _softmax,
}

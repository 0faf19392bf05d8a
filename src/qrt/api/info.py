"""What is known about a loaded model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qrt.graph.state import KV, PAGE_LEN
from qrt.runtime.heads import ranks_by, vector_width
from qrt.runtime.loader import Loaded
from qrt.runtime.records import Plain


@dataclass(frozen=True, slots=True)
class ModelInfo(Plain):
    """A model's size and how it is set up to run."""

    path: str
    arch: str
    name: str
    """general.name, or the file's name."""
    n_params: int
    n_active_params: int
    """Those that a token needs: without the experts of a mixture that it is not sent to."""
    file_bytes: int
    weight_bytes: int
    """Bytes of weights that one decoded token reads."""
    qtypes: Mapping[str, int]
    """Tensors of each type."""
    n_layers: int
    dim: int
    n_vocab: int
    n_ctx: int
    n_ctx_train: int
    pooling: str | None
    """What vectors of texts are made of: "mean", "cls", "last", "none" of it, or "rank" for a
    reranker; None for a language model, which answers."""
    embedding_dim: int | None
    """Values of a vector."""
    ranks_by: str | None
    """What scores of `rerank` are: "head", "yes or no" or "cosine"; None: it does not rank."""
    backend: str
    n_threads: int
    """Those that compute an answer."""
    kv_type: str
    kv_bytes_per_token: int
    """Of keys and values that a sequence keeps of each token, of windowed layers the last ones."""
    fixed_state_bytes: int
    """Of the states of recurrent layers, whatever the length of a sequence."""
    sampling: Mapping[str, Any]
    """Sampling options that the file recommends, which hold where a call names none."""


def model_info(loaded: Loaded, sampling: Mapping[str, Any]) -> ModelInfo:
    """The info of a model, gathered once when it is loaded."""
    file, graph, settings = loaded.file, loaded.graph, loaded.executor.settings
    name = file.metadata.get("general.name")
    units = zip(graph.states, loaded.unit_bytes, strict=True)
    page_bytes = sum(size for group, size in units if isinstance(group, KV))
    return ModelInfo(
        path=str(file.path),
        arch=graph.arch,
        name=name if isinstance(name, str) and name else file.path.stem,
        n_params=sum(math.prod(tensor.shape) for tensor in file.tensors.values()),
        n_active_params=graph.active_params(),
        file_bytes=file.file_bytes,
        weight_bytes=loaded.weight_bytes,
        qtypes=dict(Counter(tensor.qtype.name for tensor in file.tensors.values())),
        n_layers=graph.n_layers,
        dim=graph.dim,
        n_vocab=graph.n_vocab,
        n_ctx=loaded.n_ctx,
        n_ctx_train=graph.n_ctx_train,
        pooling=graph.pooling,
        embedding_dim=None if graph.pooling is None else vector_width(graph),
        ranks_by=ranks_by(graph, file.metadata),
        backend=loaded.backend,
        n_threads=settings.threads_of("decode"),
        kv_type=settings.kv_type,
        kv_bytes_per_token=page_bytes // PAGE_LEN,
        fixed_state_bytes=sum(loaded.unit_bytes) - page_bytes,
        sampling=sampling,
    )

"""What a file says of pooling, and of the layers behind a pooled row."""

from __future__ import annotations

from typing import Final, Literal, get_args

from qrt.arch.source import Source
from qrt.graph.heads import Head, Pooling, Ranking

POOLINGS: Final[tuple[Pooling, ...]] = get_args(Pooling)
"""By the number that `pooling_type` has in a file."""
WIDTH: Final = "embedding_length_out"


def read_pooling(source: Source, key: str = "pooling_type") -> Pooling | None:
    """The pooling that a key names; None for a file without it. Raises ArchError."""
    return POOLINGS[source.count(key)] if source.has(key) else None


def read_dense(source: Source) -> tuple[Head, ...]:
    """The linear layers behind the pooled row, as sentence-transformers have them.

    The width of an only one may stand in WIDTH.
    """
    dim, heads = source.count("embedding_length"), list[Head]()
    for name in ("dense_2", "dense_3"):
        if f"{name}.weight" in source.tensors:
            width = source.count(WIDTH) if source.has(WIDTH) else None
            n_in = source.count(f"{name}_feat_in", None if heads else dim)
            n_out = source.count(f"{name}_feat_out", width)
            heads.append(_layer(source, name, n_in, n_out))
    for head in heads:
        if head.n_in != dim:
            key = head.weight.replace(".weight", "_feat_in")
            raise source.wrong(source.key(key), f"what comes in, {dim}", head.n_in)
        dim = head.n_out
    return tuple(heads)


def read_ranking(
    source: Source,
    pooling: Literal["mean", "cls", "last"],
    act: Literal["tanh", "gelu_erf"],
    softmax: bool,
    eps: float,
) -> Ranking | None:
    """The classifier of a reranker; None for a file without one.

    `pooling` is that of files that name none, `act` the activation behind `cls`; with `softmax` the
    labels have probabilities. Raises ArchError.
    """
    heads, dim = [], source.count("embedding_length")
    if "cls.weight" in source.tensors:
        shape = source.tensors["cls.weight"].shape
        n_out = shape[0] if len(shape) > 1 else 1
        norm = "cls.norm.weight" if "cls.norm.weight" in source.tensors else None
        heads.append(_layer(source, "cls", dim, n_out, act, norm, eps))
        dim = n_out
    labels = source.strings("classifier.output_labels")
    if "cls.output.weight" in source.tensors:
        n_out = len(labels) or 1
        heads.append(_layer(source, "cls.output", dim, n_out, "softmax" if softmax else None))
    stated = read_pooling(source, "classifier.pooling_type")
    if stated in ("mean", "cls", "last"):
        pooling = stated
    return Ranking(pooling, tuple(heads), labels) if heads else None


def _layer(
    source: Source,
    name: str,
    n_in: int,
    n_out: int,
    act: Literal["tanh", "gelu_erf", "softmax"] | None = None,
    norm: str | None = None,
    eps: float = 0.0,
) -> Head:
    bias = f"{name}.bias" if f"{name}.bias" in source.tensors else None
    return Head(f"{name}.weight", n_in, n_out, bias, act, norm, eps if norm else 0.0)

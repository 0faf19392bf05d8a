"""Tiny models with layers behind their pooled row: classifiers of rerankers, dense layers.

`python tests/make_head_oracles.py` stores what others make of TOKENS in `tests/data/heads.npz`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tiny_models import metadata_of, random_tensor, tensors_of
from tiny_parts import DIM

from qrt.formats.qtensor import QTensor

RANK = {"pooling_type": 4}
MANY = {"classifier.output_labels": ["good", "bad", "ugly"]}
DENSE = {"dense_2_feat_in": DIM, "dense_2_feat_out": 96, "dense_3_feat_in": 96}
FIRST, OUT = {"cls.weight": (DIM, DIM)}, {"cls.output.weight": (1, DIM), "cls.output.bias": (1,)}


@dataclass(frozen=True)
class Headed:
    """A tiny model, keys that it has besides, and the shapes of the tensors of its heads."""

    model: str
    keys: Mapping[str, object]
    shapes: Mapping[str, tuple[int, ...]]


HEADED: dict[str, Headed] = {
    "bert": Headed("bert", RANK, {**FIRST, "cls.bias": (DIM,), **OUT}),
    "bert@labels": Headed("bert", {**RANK, **MANY}, {"cls.output.weight": (3, DIM)}),
    "jina-bert-v2": Headed("jina-bert-v2", RANK, {"cls.weight": (1, DIM), "cls.bias": (1,)}),
    "modern-bert": Headed("modern-bert", RANK, {**FIRST, "cls.norm.weight": (DIM,), **OUT}),
    "modern-bert@first": Headed(
        "modern-bert",
        {**RANK, "classifier.pooling_type": 2},
        {**FIRST, "cls.norm.weight": (DIM,), **OUT},
    ),
    "neo-bert": Headed("neo-bert", RANK, {**FIRST, "cls.bias": (DIM,), **OUT}),
    "qwen3": Headed(
        "qwen3@embedding",
        {**RANK, "classifier.output_labels": ["yes", "no"]},
        {"cls.output.weight": (2, DIM)},
    ),
    "gemma-embedding": Headed(
        "gemma-embedding",
        {**DENSE, "dense_3_feat_out": DIM},
        {"dense_2.weight": (96, DIM), "dense_3.weight": (DIM, 96)},
    ),
    "lfm2": Headed(
        "lfm2",
        {"pooling_type": 1, "embedding_length_out": 32},
        {"dense_2.weight": (32, DIM), "dense_2.bias": (32,)},
    ),
}


def headed_metadata(name: str) -> dict[str, object]:
    """The metadata of an entry."""
    model = HEADED[name].model
    arch = model.split("@")[0]
    keys = {f"{arch}.{key}": value for key, value in HEADED[name].keys.items()}
    return metadata_of(model) | keys


def headed_tensors(name: str) -> dict[str, QTensor]:
    """Those of the model and of its heads."""
    heads = HEADED[name].shapes.items()
    return tensors_of(HEADED[name].model) | {k: random_tensor(name, k, v) for k, v in heads}

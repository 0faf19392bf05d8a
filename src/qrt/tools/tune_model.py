"""What `qrt tune` runs: the first layers of a model file, or random ones in the shape of a 1B's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from qrt.arch import build_graph
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES

_DIM, _FFN_DIM, _N_VOCAB = 2048, 8192, 4096
_N_HEADS, _N_KV_HEADS, _HEAD_DIM = 32, 8, 64
_N_LAYERS = 6
_POOL_VALUES = 1 << 20
_STD = 0.02

_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class TuneModel:
    """Metadata and tensors as a file would give them; `where` names them."""

    metadata: Mapping[str, object]
    tensors: Mapping[str, QTensor]
    where: str

    def first_layers(self, n_bytes: int) -> TuneModel:
        """The model with as few layers as have `n_bytes` of weights, one at least.

        Raises ArchError where the model cannot run.
        """
        graph = build_graph(self.metadata, self.tensors, self.where)
        first = [tensor for name, tensor in self.tensors.items() if _layer_of(name) == 0]
        layer_bytes = max(1, sum(tensor.n_bytes for tensor in first))
        n_layers = min(graph.n_layers, max(1, math.ceil(n_bytes / layer_bytes)))
        tensors = {name: t for name, t in self.tensors.items() if _layer_of(name) < n_layers}
        metadata = {
            key: value[:n_layers] if _is_per_layer(value, graph.n_layers) else value
            for key, value in self.metadata.items()
        }
        metadata[f"{graph.arch}.block_count"] = n_layers
        return TuneModel(metadata, tensors, self.where)


def random_model() -> TuneModel:
    """Q4_0 weights in the shape of a model of 1B parameters, with six layers and few tokens.

    All matrices are views of the same bytes, so they take up memory only once they are packed.
    """
    metadata: dict[str, object] = {
        "general.architecture": "llama",
        "llama.block_count": _N_LAYERS,
        "llama.context_length": 4096,
        "llama.embedding_length": _DIM,
        "llama.feed_forward_length": _FFN_DIM,
        "llama.attention.head_count": _N_HEADS,
        "llama.attention.head_count_kv": _N_KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": _N_VOCAB,
    }
    q_dim, kv_dim = _N_HEADS * _HEAD_DIM, _N_KV_HEADS * _HEAD_DIM
    layer = {
        "attn_norm": (_DIM,),
        "attn_q": (q_dim, _DIM),
        "attn_k": (kv_dim, _DIM),
        "attn_v": (kv_dim, _DIM),
        "attn_output": (_DIM, q_dim),
        "ffn_norm": (_DIM,),
        "ffn_gate": (_FFN_DIM, _DIM),
        "ffn_up": (_FFN_DIM, _DIM),
        "ffn_down": (_DIM, _FFN_DIM),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (_N_VOCAB, _DIM),
        "output": (_N_VOCAB, _DIM),
        "output_norm": (_DIM,),
        **{f"blk.{i}.{name}": shape for i in range(_N_LAYERS) for name, shape in layer.items()},
    }
    q4_0, f32 = QTYPES["Q4_0"], QTYPES["F32"]
    values = np.random.default_rng(0).standard_normal(_POOL_VALUES, dtype=np.float32)
    assert q4_0.quantize is not None
    pool = q4_0.quantize((values * np.float32(_STD)).reshape(-1, q4_0.block_size))
    matrix = np.resize(pool.reshape(-1), max(q4_0.n_bytes(shape) for shape in shapes.values()))
    ones = np.ones(_DIM, np.float32).view(np.uint8)
    tensors = {}
    for stem, shape in shapes.items():
        qtype, data = (q4_0, matrix) if len(shape) == 2 else (f32, ones)
        name = f"{stem}.weight"
        tensors[name] = QTensor(name, qtype, shape, data[: qtype.n_bytes(shape)])
    return TuneModel(metadata, tensors, "random layers of a 1B model's shape, Q4_0")


def _layer_of(name: str) -> int:
    """The layer of a tensor; -1 for one that is in none."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


def _is_per_layer(value: object, n_layers: int) -> TypeGuard[Sequence[object]]:
    """Whether a hyperparameter has a value for each layer."""
    return (
        not isinstance(value, str)
        and isinstance(value, Sequence | np.ndarray)
        and len(value) == n_layers
    )

"""What entries of tiny_models are put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

DIM, N_VOCAB, N_LAYERS, N_CTX = 64, 64, 2, 256
TOKENS = (np.arange(40) * 37 + 11) % N_VOCAB
KEYS: dict[str, object] = {
    "vocab_size": N_VOCAB,
    "context_length": N_CTX,
    "embedding_length": DIM,
    "block_count": N_LAYERS,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 500.0,
}
"""Of every model, but for what its entry changes; None takes a key away."""

LAYER_NORM = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
WIDE = {"attention.key_length": 32, "attention.value_length": 32}
"""Heads wider than dim / n_heads."""
WINDOW = {"attention.sliding_window": 6}

QKV_BIASES = ("blk.*.attn_q.bias", "blk.*.attn_k.bias", "blk.*.attn_v.bias")
NETWORK_BIASES = ("blk.*.attn_output.bias", "blk.*.ffn_up.bias", "blk.*.ffn_down.bias")
OUTPUT = ("output.weight",)


@dataclass(frozen=True)
class Tiny:
    """An entry. `optional` names tensors, `blk.*.` standing for every block; `given` has values."""

    keys: Mapping[str, object] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    given: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    """Keys and tensors that may be taken away without effect."""
    columns: tuple[str, ...] = ()
    """Stems of vectors that files have as (n, 1)."""
    spread: tuple[str, ...] = ()
    """Stems of matrices that files have as (1, n, 1, m)."""


def factors(n: int, first: float, last: float) -> NDArray[np.float32]:
    """n divisors of rotary frequencies."""
    return np.geomspace(first, last, n).astype(np.float32)


def llama3_factors(dim: int, base: float, n_ctx: int) -> NDArray[np.float32]:
    """The divisors of Llama 3.1 for a factor of 8, from `n_ctx` positions, (dim / 2,)."""
    turns = n_ctx / (2 * np.pi * base ** (np.arange(0, dim, 2) / dim))  # within n_ctx positions
    share = np.clip((turns - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    return (1.0 / (share + (1.0 - share) / 8.0)).astype(np.float32)


LONGROPE = {
    "rope_factors_short.weight": factors(8, 1.0, 3.0),
    "rope_factors_long.weight": factors(8, 1.5, 9.0),
}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 32,
}

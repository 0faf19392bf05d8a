"""What rows of make_arch_oracles are put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tiny_parts


def nothing(*_: object) -> None:
    """For names and forms that all models have."""


@dataclass(frozen=True)
class Row:
    """How a model is made with transformers."""

    kind: str
    """`model_type` of the configuration."""
    config: Mapping[str, object] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """What of `hf_config` it refuses."""
    permuted: bool = False
    """Whether the file has the rows of queries and keys in the order of adjacent pairs."""
    minus_one: bool = False
    """Whether the file's norm weights are those of transformers plus 1."""
    grouped: bool = False
    """Whether transformers' `attn_qkv` has the queries of each kv head beside its key and value."""
    transposed: bool = False
    """Whether transformers' matrices are (in, out)."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Parts of transformers' names that the gguf package does not know, and what does."""
    turned: bool = False
    """Whether transformers has the matrices of experts as (in, out)."""
    interleaved: bool = False
    """Whether gates and ups of experts alternate there."""
    hidden: bool = False
    """Whether its hidden states are wanted, not its logits."""
    headless: bool = False
    """Whether transformers has the model without what makes logits, which is its embedding."""
    auto: str = "AutoModel"
    """What makes a model of hidden states, or one with an encoder, of the configuration."""
    n_encoded: int = 0
    """How many tokens an encoder reads; the others are those of the decoder."""
    remade: Callable[[str, Mapping[str, Any], Any], tuple[Any, tuple[str, ...]] | None] = nothing
    """What a parameter is where its name and form are the model's own, and the tensors it is of:
    of its name, all tensors of the file and the configuration.
    """


ROPE = {"rope_type": "default", "rope_theta": 500.0}
YARN = {
    **ROPE,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
LLAMA3 = {
    **ROPE,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    **ROPE,
    "rope_type": "longrope",
    "short_factor": tiny_parts.LONGROPE["rope_factors_short.weight"].tolist(),
    "long_factor": tiny_parts.LONGROPE["rope_factors_long.weight"].tolist(),
    "attention_factor": 1.2,
}
HALF = {**ROPE, "partial_rotary_factor": 0.5}
WHOLE = {**ROPE, "partial_rotary_factor": 1.0}
LOCAL, GLOBAL = "sliding_attention", "full_attention"

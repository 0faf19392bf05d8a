"""The entries of tiny_models with the gated delta rule or short convolutions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tiny_mixtures import EXPERT, KV_HEADS, LATENT, NO_DENSE, SHARED
from tiny_parts import DIM, OUTPUT, WIDE, WINDOW, Tiny

SMALL_EPS = {"attention.layer_norm_rms_epsilon": 1e-6}
"""What transformers has fixed for q and k of the delta rule."""
DELTA = {
    **WIDE,
    **SMALL_EPS,
    "block_count": 3,
    "full_attention_interval": 2,
    "rope.dimension_count": 16,
    "ssm.conv_kernel": 4,
    "ssm.group_count": 2,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 6,
    "ssm.inner_size": 96,
}
SECTIONS = {"rope.dimension_sections": [3, 3, 2, 0]}
EVERY_SECTION = ("rope.dimension_sections",)
"""For text all have the same position."""
SHORT_CONV = {
    "block_count": 3,
    "attention.head_count_kv": [0, 2, 0],
    "shortconv.l_cache": 3,
}
KIMI = {
    **EXPERT,
    **LATENT,
    **SMALL_EPS,
    "attention.head_count_kv": [0, 1, 0],
    "attention.q_lora_rank": None,
    "attention.value_length": None,
    "expert_gating_func": 2,
    "expert_weights_scale": 2.5,
    "kda.head_dim": 16,
    "rope.freq_base": None,
    "ssm.conv_kernel": 4,
}


def ahead(block: int) -> dict[str, NDArray[np.float32]]:
    """Some tensors of a block that predicts the token after next."""
    ones = np.ones(DIM, np.float32)
    return {f"blk.{block}.{name}.weight": ones for name in ("nextn.enorm", "attn_norm")}


CONVOLUTIONS = tuple(f"ssm_conv1d_{part}.weight" for part in "qkv")

DELTAS: dict[str, Tiny] = {
    "qwen35": Tiny({**DELTA, **SECTIONS}, OUTPUT, harmless=EVERY_SECTION),
    "qwen35@layers": Tiny(
        {
            **DELTA,
            "attention.recurrent_layers": np.array([False, True, True, False]),
            "full_attention_interval": None,
            "block_count": 4,
            "nextn_predict_layers": 1,
            "ssm.inner_size": 120,
        },
        (),
        ahead(3),
        harmless=tuple(ahead(3)),
    ),
    "qwen35moe": Tiny(
        {**DELTA, **SECTIONS, **EXPERT, **SHARED},
        OUTPUT,
        harmless=(*EVERY_SECTION, *NO_DENSE),
    ),
    "qwen3next": Tiny({**DELTA, **EXPERT, **SHARED}, OUTPUT, harmless=NO_DENSE),
    "qwen3next@old": Tiny(
        {
            **DELTA,
            **EXPERT,
            "attention.recurrent_layers": np.array([True, False, True]),
            "full_attention_interval": None,
        },
        ("blk.0.ssm_in.weight", "blk.2.ssm_in.weight"),
    ),
    "lfm2": Tiny(SHORT_CONV),
    "lfm2@window": Tiny({**SHORT_CONV, **WINDOW}, OUTPUT),
    "lfm2moe": Tiny(
        {**SHORT_CONV, **EXPERT, "leading_dense_block_count": 1, "expert_gating_func": 2}
    ),
    "kimi-linear": Tiny(KIMI, OUTPUT, harmless=KV_HEADS, columns=("ssm_a",), spread=CONVOLUTIONS),
}

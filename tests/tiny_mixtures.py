"""The entries of tiny_models that are mixtures of experts."""

from __future__ import annotations

import numpy as np
from tiny_parts import (
    DIM,
    LAYER_NORM,
    LONGROPE,
    OUTPUT,
    QKV_BIASES,
    WIDE,
    WINDOW,
    YARN,
    Tiny,
    llama3_factors,
)

MOE = {"expert_count": 8, "expert_used_count": 3}
EXPERT = {**MOE, "expert_feed_forward_length": 40}
SHARED = {"expert_shared_feed_forward_length": 80}
ROUTED = {"expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 2.5}
GROUPS = {"expert_group_count": 4, "expert_group_used_count": 2}
DENSE_FIRST = {"block_count": 3, "leading_dense_block_count": 1}
CHOICE = ("blk.1.exp_probs_b.bias", "blk.2.exp_probs_b.bias")
"""The bias of the choice in the layers behind the dense one."""
LATENT = {
    **DENSE_FIRST,
    "attention.head_count_kv": 1,
    "attention.key_length": 40,
    "attention.value_length": 32,
    "attention.key_length_mla": 24,
    "attention.value_length_mla": 20,
    "attention.kv_lora_rank": 32,
    "attention.q_lora_rank": 48,
    "rope.dimension_count": 8,
    "expert_shared_count": 2,
}
KV_HEADS = ("attention.head_count_kv",)
"""Absent it is the number of heads."""
NO_DENSE = ("feed_forward_length",)
"""Layers of experts alone do not need it."""

MIXTURES: dict[str, Tiny] = {
    "llama@experts": Tiny({**WIDE, **MOE}, ("blk.*.ffn_up_exps.scale",)),
    "qwen3moe": Tiny({**WIDE, **EXPERT}, harmless=NO_DENSE),
    "qwen3moe@width": Tiny({**WIDE, **MOE}, OUTPUT),
    "qwen3vlmoe": Tiny(
        {**WIDE, **EXPERT, "rope.dimension_sections": [6, 5, 5, 0]},
        harmless=("rope.dimension_sections", *NO_DENSE),
    ),
    "qwen2moe": Tiny({**EXPERT, **SHARED}, (*QKV_BIASES, *OUTPUT), harmless=NO_DENSE),
    "qwen2moe@width": Tiny(EXPERT, (*QKV_BIASES, *OUTPUT)),
    "gpt-oss": Tiny(
        {**WIDE, **EXPERT, **WINDOW, **YARN}, (*QKV_BIASES, *OUTPUT), harmless=NO_DENSE
    ),
    "gpt-oss@pattern": Tiny(
        {
            **WIDE,
            **EXPERT,
            **WINDOW,
            "block_count": 3,
            "attention.sliding_window_pattern": np.array([False, True, True]),
            "rope.freq_base_swa": 100.0,
        },
        OUTPUT,
        harmless=NO_DENSE,
    ),
    "deepseek": Tiny(
        {**EXPERT, **DENSE_FIRST, "expert_shared_count": 2, "expert_weights_scale": 1.5}, OUTPUT
    ),
    "deepseek2": Tiny(
        {
            **EXPERT,
            **LATENT,
            **ROUTED,
            **GROUPS,
            **YARN,
            "rope.scaling.yarn_log_multiplier": 0.0707,
        },
        (*CHOICE, *OUTPUT),
    ),
    "deepseek2@plain": Tiny(  # no multiplier, softmax, merged matrices
        {
            **EXPERT,
            **LATENT,
            **YARN,
            "attention.temperature_scale": 0.3,
            "attention.temperature_length": 8,
            "block_count": 4,  # the last predicts tokens further ahead
            "nextn_predict_layers": 1,
        },
        ("blk.1.ffn_gate_up_exps.weight", "blk.2.ffn_gate_up_exps.weight"),
        {"blk.3.attn_norm.weight": np.ones(DIM, np.float32)},
        harmless=("blk.3.attn_norm.weight",),
    ),
    "deepseek2@old": Tiny(  # keys and values of all heads in the cache
        {
            **EXPERT,
            **LATENT,
            "attention.head_count_kv": 4,
            "attention.key_length": 24,
            "attention.value_length": 20,
            "attention.key_length_mla": None,
            "attention.value_length_mla": None,
            "rope.scaling.factor": 2.0,
        },
        OUTPUT,
        harmless=KV_HEADS,
    ),
    "deepseek2@head": Tiny({**EXPERT, **LATENT, "attention.head_count": 1}, harmless=KV_HEADS),
    "deepseek2@lite": Tiny({**EXPERT, **LATENT, "attention.q_lora_rank": None, "block_count": 27}),
    "mistral4": Tiny(
        {
            **EXPERT,
            **LATENT,
            **YARN,
            "rope.scaling.yarn_log_multiplier": 0.07,
            **ROUTED,
            **GROUPS,
            "attention.temperature_scale": 0.3,
            "attention.temperature_length": 8,
        }
    ),
    "mistral4@softmax": Tiny(
        {
            **EXPERT,
            **LATENT,
            **YARN,
            "rope.scaling.yarn_log_multiplier": 0.1,
            **ROUTED,
            "expert_gating_func": None,
            **GROUPS,
            "attention.temperature_scale": 0.3,
            "attention.temperature_length": 32,
        }
    ),
    "olmoe": Tiny({**MOE, "attention.head_count_kv": 4}, OUTPUT, harmless=KV_HEADS),
    "granitemoe": Tiny(
        {
            **MOE,
            **SHARED,
            "embedding_scale": 3.0,
            "residual_scale": 0.4,
            "attention.scale": 0.3,
            "logit_scale": 2.5,
        }
    ),
    "glm4moe": Tiny(
        {
            **WIDE,
            **EXPERT,
            **DENSE_FIRST,
            **ROUTED,
            **GROUPS,
            "expert_gating_func": None,
            "expert_shared_count": 1,
            "rope.dimension_count": 16,
        },
        (*QKV_BIASES, "blk.*.attn_q_norm.weight", "blk.*.attn_k_norm.weight"),
    ),
    "glm4moe@softmax": Tiny(
        {**EXPERT, "expert_gating_func": 1, "expert_shared_count": 1}, harmless=NO_DENSE
    ),
    "ernie4_5-moe": Tiny(
        {**WIDE, **EXPERT, **SHARED, **DENSE_FIRST, "interleave_moe_layer_step": 1},
        CHOICE,
        harmless=("interleave_moe_layer_step",),
    ),
    "hunyuan-moe": Tiny(
        {**WIDE, **MOE, "expert_feed_forward_length": 96},
        harmless=("expert_feed_forward_length",),
    ),
    "hunyuan-moe@shared": Tiny(
        {**WIDE, **MOE, **SHARED, "expert_feed_forward_length": 96},
        harmless=("expert_feed_forward_length",),
    ),
    "minimax-m2": Tiny(
        {
            **WIDE,
            **MOE,
            "expert_feed_forward_length": 96,
            "expert_gating_func": 2,
            "rope.dimension_count": 16,
        },
        OUTPUT,
        harmless=("expert_feed_forward_length",),
    ),
    "dots1": Tiny(
        {
            **EXPERT,
            **DENSE_FIRST,
            **ROUTED,
            **GROUPS,
            "attention.head_count_kv": 4,
            "expert_shared_count": 2,
        },
        (*CHOICE, *OUTPUT),
        harmless=KV_HEADS,
    ),
    "bailingmoe": Tiny(
        {
            **EXPERT,
            "expert_shared_count": 2,
            "expert_weights_norm": True,
            "expert_weights_scale": 1.5,
        },
        OUTPUT,
        harmless=NO_DENSE,
    ),
    "bailingmoe2": Tiny(
        {
            **EXPERT,
            **SHARED,
            **DENSE_FIRST,
            **ROUTED,
            **GROUPS,
            "expert_shared_count": 1,
            "rope.dimension_count": 8,
        },
        ("blk.*.attn_qkv.weight", *CHOICE, *OUTPUT),
    ),
    "phimoe": Tiny(
        {**MOE, "rope.scaling.original_context_length": 32, "rope.scaling.attn_factor": 1.2},
        OUTPUT,
        LONGROPE,
        harmless=("rope_factors_short.weight",),
    ),
    "phimoe@sparsemixer": Tiny(
        {
            **MOE,
            "expert_used_count": 2,
            "attention.layer_norm_epsilon": 1e-5,
            "router_jitter_noise": 0.2,
            "rope.scaling.attn_factor": 1.2,
        },
        (*QKV_BIASES, *OUTPUT),
        LONGROPE,
        harmless=("rope_factors_long.weight", "attention.layer_norm_rms_epsilon"),
    ),
    "llama4": Tiny(
        {
            **WIDE,
            **EXPERT,
            "expert_used_count": 1,
            "interleave_moe_layer_step": 2,
            "block_count": 4,
        },
        (),
        {"rope_freqs.weight": llama3_factors(32, 500.0, 64)},
    ),
    "llama4@chunks": Tiny(
        {
            **EXPERT,
            "block_count": 4,
            "expert_used_count": 1,
            "attention.sliding_window": 6,
            "attention.temperature_length": 8,
            "attention.temperature_scale": 0.3,
        },
        harmless=NO_DENSE,
    ),
    "exaone-moe": Tiny(
        {
            **WIDE,
            **EXPERT,
            **SHARED,
            **WINDOW,
            **DENSE_FIRST,
            **ROUTED,
            **GROUPS,
            "block_count": 4,
        },
        (*CHOICE, "blk.3.exp_probs_b.bias", *OUTPUT),
    ),
    "exaone-moe@ahead": Tiny(
        {
            **WIDE,
            **EXPERT,
            **SHARED,
            **WINDOW,
            **DENSE_FIRST,
            **ROUTED,
            "block_count": 4,
            "nextn_predict_layers": 1,
            "attention.sliding_window_pattern": np.array([True, False, True]),
        },
        (*CHOICE, *OUTPUT),
        {"blk.3.nextn.enorm.weight": np.ones(DIM)},
        harmless=("blk.3.nextn.enorm.weight",),
    ),
    "afmoe": Tiny(
        {
            **WIDE,
            **EXPERT,
            **WINDOW,
            **ROUTED,
            "expert_gating_func": None,
            "block_count": 4,
            "expert_shared_count": 1,
            "leading_dense_block_count": 1,
        },
        OUTPUT,
    ),
    "afmoe@pattern": Tiny(
        {
            **EXPERT,
            **WINDOW,
            "attention.sliding_window_pattern": 2,
            "expert_gating_func": 1,
            "expert_shared_count": 1,
            "rope.freq_base_swa": 100.0,
        },
        harmless=NO_DENSE,
    ),
    "cohere2moe": Tiny(
        {
            **WIDE,
            **EXPERT,
            **WINDOW,
            **ROUTED,
            "block_count": 5,
            "expert_gating_func": 1,
            "expert_weights_scale": None,
            "expert_shared_count": 2,
            "leading_dense_block_count": 1,
            "logit_scale": 0.25,
        },
        ("blk.2.ffn_gate_up_exps.weight",),
    ),
    "cohere2moe@layer": Tiny(
        {
            **WIDE,
            **EXPERT,
            **WINDOW,
            **LAYER_NORM,
            "leading_dense_block_count": 0,
            "logit_scale": 0.25,
            "expert_weights_scale": 2.5,
        },
        harmless=NO_DENSE,
    ),
    "arctic": Tiny(MOE),
    "dbrx": Tiny(
        {**MOE, **LAYER_NORM, "attention.clamp_kqv": 1.5}, ("blk.*.attn_qkv.weight", *OUTPUT)
    ),
}

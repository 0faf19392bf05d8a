"""Rows of make_arch_oracles for recent dense models, and for Gemma's mixture."""

from __future__ import annotations

from hf_parts import GLOBAL, LLAMA3, LOCAL, LONGROPE, ROPE, YARN, Row

STREAMS = {
    "model.altup_projections": "altup_proj",
    "model.altup_unembed_projections": "altup_unembd_proj",
}
GEMMA3N = {
    "vocab_size_per_layer_input": 64,
    "rope_parameters": {LOCAL: {**ROPE, "rope_theta": 10000.0}, GLOBAL: ROPE},
}

RECENT: dict[str, Row] = {
    "llama": Row("llama", {"rope_parameters": LLAMA3}, permuted=True),
    "llama@biases": Row(
        "llama",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": {**ROPE, "rope_type": "linear", "factor": 2.0},
        },
        permuted=True,
    ),
    "qwen2": Row("qwen2", {"rope_parameters": YARN}),
    "qwen3": Row("qwen3"),
    "qwen3@fused": Row("qwen3"),
    "qwen2vl": Row(
        "qwen2_vl_text", {"rope_parameters": {**ROPE, "mrope_section": [4, 2, 2]}}, headless=True
    ),
    "qwen3vl": Row(
        "qwen3_vl_text",
        {"rope_parameters": {**ROPE, "mrope_section": [6, 5, 5], "mrope_interleaved": True}},
        headless=True,
    ),
    "qwen3vl@sections": Row(
        "qwen3_vl_text",
        {"rope_parameters": {**ROPE, "mrope_section": [8, 4, 4], "mrope_interleaved": True}},
        headless=True,
    ),
    "gemma": Row("gemma", {"hidden_activation": "gelu_pytorch_tanh"}, minus_one=True),
    "gemma2": Row(
        "gemma2",
        {
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 32,
        },
        minus_one=True,
    ),
    "gemma2@46": Row(
        "gemma2",
        {
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "query_pre_attn_scalar": 16,
        },
        minus_one=True,
    ),
    "gemma3": Row(
        "gemma3_text",
        {
            "query_pre_attn_scalar": 32,
            "layer_types": [LOCAL, GLOBAL, LOCAL],
            "rope_parameters": {
                LOCAL: {"rope_type": "default", "rope_theta": 100.0},
                GLOBAL: {**ROPE, "rope_type": "linear", "factor": 4.0},
            },
        },
        minus_one=True,
    ),
    "gemma3@6": Row(
        "gemma3_text",
        {
            "query_pre_attn_scalar": 32,
            "final_logit_softcapping": 3.0,
            "layer_types": [LOCAL] * 5 + [GLOBAL],
            "rope_parameters": {LOCAL: {**ROPE, "rope_theta": 10000.0}, GLOBAL: ROPE},
        },
        minus_one=True,
    ),
    "gemma3n": Row(
        "gemma3n_text",
        {
            **GEMMA3N,
            "layer_types": [LOCAL, GLOBAL] * 2 + [LOCAL],
            "num_kv_shared_layers": 2,
            "hidden_size_per_layer_input": 16,
            "altup_num_inputs": 3,
            "altup_active_idx": 1,
            "laurel_rank": 8,
            "activation_sparsity_pattern": [0.8, 0.0, 0.9, 0.5, 0.0],
            "final_logit_softcapping": 3.0,
            "rope_parameters": {LOCAL: {**ROPE, "rope_theta": 100.0}, GLOBAL: ROPE},
        },
        renamed=STREAMS,
    ),
    "gemma3n@25": Row("gemma3n_text", {**GEMMA3N, "num_kv_shared_layers": 5}, renamed=STREAMS),
    "gemma4": Row(
        "gemma4_text",
        {
            "layer_types": [LOCAL, LOCAL, GLOBAL] * 2,
            "head_dim": 16,
            "global_head_dim": 32,
            "num_key_value_heads": 2,
            "num_global_key_value_heads": 1,
            "attention_k_eq_v": True,
            "num_kv_shared_layers": 3,
            "intermediate_size": 96,
            "use_double_wide_mlp": True,
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": 64,
            "final_logit_softcapping": 3.0,
            "rope_parameters": {
                LOCAL: {**ROPE, "rope_theta": 100.0},
                GLOBAL: {**ROPE, "rope_type": "proportional", "partial_rotary_factor": 0.25},
            },
        },
    ),
    "gemma4@experts": Row(
        "gemma4_text",
        {
            "layer_types": [LOCAL, GLOBAL],
            "head_dim": 16,
            "global_head_dim": 32,
            "num_key_value_heads": 2,
            "num_global_key_value_heads": 1,
            "attention_k_eq_v": True,
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 6,
            "top_k_experts": 2,
            "moe_intermediate_size": 32,
            "final_logit_softcapping": 3.0,
            "rope_parameters": {
                LOCAL: {**ROPE, "rope_theta": 10000.0},
                GLOBAL: {**ROPE, "rope_type": "proportional", "partial_rotary_factor": 0.25},
            },
        },
        renamed={
            "router.scale": "ffn_gate_inp.scale",
            "router.per_expert_scale": "ffn_down_exps.scale",
        },
    ),
    "phi3": Row("phi3"),
    "phi3@long": Row(
        "phi3",
        {
            "original_max_position_embeddings": 32,
            "rope_parameters": {**LONGROPE, "original_max_position_embeddings": 32},
        },
    ),
    "phi3@short": Row(
        "phi3",
        {
            "original_max_position_embeddings": 256,
            "rope_parameters": {**LONGROPE, "original_max_position_embeddings": 256},
        },
    ),
    "mistral3": Row(
        "ministral3",
        {
            "rope_parameters": {
                **YARN,
                "original_max_position_embeddings": 16,
                "beta_fast": 0.8,
                "beta_slow": 0.1,
                "mscale": 1.0,
                "mscale_all_dim": 0.5,
                "llama_4_scaling_beta": 0.3,
            }
        },
        permuted=True,
    ),
    "glm4": Row(
        "glm4",
        {"attention_bias": True, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}},
    ),
    "smollm3": Row("smollm3", {"no_rope_layers": [1, 1, 1, 0]}, permuted=True),
    "granite": Row(
        "granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "attention_multiplier": 0.3,
            "logits_scaling": 2.5,
        },
        permuted=True,
    ),
    "command-r": Row("cohere", {"logit_scale": 0.25}),
    "command-r@norms": Row("cohere", {"logit_scale": 0.25, "use_qk_norm": True}),
    "cohere2": Row("cohere2", {"logit_scale": 0.25, "layer_types": [LOCAL] * 3 + [GLOBAL]}),
    "cohere2@pattern": Row("cohere2", {"logit_scale": 0.25, "layer_types": [LOCAL, GLOBAL, LOCAL]}),
    "olmo": Row("olmo", {"clip_qkv": 1.5}, permuted=True),
    "olmo2": Row("olmo2"),
    "olmo2@windows": Row(
        "olmo3",
        {
            "layer_types": [LOCAL] * 3 + [GLOBAL],
            "rope_parameters": {LOCAL: ROPE, GLOBAL: YARN},
        },
    ),
    "olmo2@pattern": Row(
        "olmo3",
        {"layer_types": [GLOBAL, LOCAL], "rope_parameters": {LOCAL: ROPE, GLOBAL: ROPE}},
    ),
    "exaone4": Row("exaone4", {"rope_parameters": LLAMA3, "layer_types": [GLOBAL] * 2}),
    "exaone4@64": Row("exaone4", {"layer_types": ([LOCAL] * 3 + [GLOBAL]) * 16}),
    "seed_oss": Row("seed_oss", {"attention_bias": True, "attention_out_bias": False}),
    "ernie4_5": Row("ernie4_5"),
    "hunyuan-dense": Row("hunyuan_v1_dense"),
}

"""How transformers names and lays out the tensors of mixtures of experts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from hf_parts import GLOBAL, LLAMA3, LOCAL, LONGROPE, ROPE, YARN, Row
from numpy.typing import NDArray

Array = NDArray[np.float32]
PLACES = r"(?:mlp|feed_forward|block_sparse_moe|mixer)\."
NAMES = {
    PLACES + r"experts\.gate_up_proj": "ffn_gate_up_exps.weight",
    PLACES + r"experts\.(up|down)_proj": r"ffn_\1_exps.weight",
    PLACES + r"fc1_latent_proj\.weight": "ffn_latent_down.weight",
    PLACES + r"fc2_latent_proj\.weight": "ffn_latent_up.weight",
    PLACES + r"experts\.gate_up_proj_bias": "ffn_gate_up_exps.bias",
    PLACES + r"experts\.down_proj_bias": "ffn_down_exps.bias",
    PLACES + r"(?:gate|router|gate\.wg)\.weight": "ffn_gate_inp.weight",
    PLACES + r"router\.bias": "ffn_gate_inp.bias",
    PLACES + r"(?:gate\.)?(?:moe_statics\.)?e_score_correction_bias": "exp_probs_b.bias",
    PLACES + r"shared_(?:experts?|mlp)\.(gate|up|down)_proj\.weight": r"ffn_\1_shexp.weight",
    PLACES + r"shared_expert_gate\.weight": "ffn_gate_inp_shexp.weight",
    r"shared_mlp\.input_linear\.weight": "ffn_gate_up_shexp.weight",
    r"shared_mlp\.output_linear\.weight": "ffn_down_shexp.weight",
    PLACES + r"router\.gate\.weight": "ffn_gate_inp.weight",
    PLACES + r"expert_bias": "exp_probs_b.bias",
    r"self_attn\.gate_proj\.weight": "attn_gate.weight",
    r"self_attn\.sinks": "attn_sinks.weight",
    r"self_attn\.kv_b_proj\.weight": "attn_kv_b.weight",
    r"self_attn\.query_layernorm\.weight": "attn_q_norm.weight",
    r"self_attn\.key_layernorm\.weight": "attn_k_norm.weight",
}
"""Parameters of a layer, as patterns, and what they are called in files, or would be."""
JOINED = {
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
    "ffn_gate_up_shexp": ("ffn_gate_shexp", "ffn_up_shexp"),
    "attn_kv_b": ("attn_k_b", "attn_v_b"),
}
"""What transformers has in one and files mostly apart."""


def mixture_name(theirs: str) -> str | None:
    """The name in the file; None for parameters that other models have too."""
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", theirs)
    for pattern, ours in NAMES.items():
        if layer and (found := re.fullmatch(pattern, layer[2])):
            return f"blk.{layer[1]}.{found.expand(ours)}"
    return None


def parts_of(name: str) -> tuple[str, ...]:
    """The tensors of the file that a name may stand for."""
    at, stem, kind = [*name.rsplit(".", 2), "", ""][:3]
    return tuple(f"{at}.{part}.{kind}" for part in JOINED.get(stem, ()))


def joined(name: str, tensors: Mapping[str, Array], interleaved: bool) -> Array:
    """A tensor that transformers has in one, from its parts."""
    a, b = (tensors[part] * scale_of(part, tensors) for part in parts_of(name))
    if ".attn_kv_b." in name:  # keys (n_heads, rank, nope), values (n_heads, v_dim, rank)
        return np.concatenate([a.swapaxes(1, 2), b], axis=1).reshape(-1, b.shape[2])
    axis = 1 if "_exps." in name else 0
    if interleaved:
        return np.stack([a, b], axis=axis + 1).reshape(a.shape[0], -1, *a.shape[2:])
    return np.concatenate([a, b], axis=axis)


def scale_of(name: str, tensors: Mapping[str, Array]) -> Array | float:
    """The factors of a tensor's experts, to multiply it with."""
    scale = tensors.get(name.removesuffix("weight") + "scale")
    return 1.0 if scale is None else scale.reshape(-1, *[1] * (tensors[name].ndim - 1))


DENSE_FIRST = ["dense", "sparse", "sparse"]
EXPERTS = {"num_experts_per_tok": 3, "moe_intermediate_size": 40}
DEEPSEEK = {
    **EXPERTS,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "n_group": 4,
    "topk_group": 2,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "mlp_layer_types": DENSE_FIRST,
}
LATENT = {
    **DEEPSEEK,
    "kv_lora_rank": 32,
    "q_lora_rank": 48,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 20,
    "num_key_value_heads": 4,
}

HF_MIXTURES: dict[str, Row] = {
    "llama@experts": Row(
        "mixtral", {"num_local_experts": 8, "num_experts_per_tok": 3}, permuted=True
    ),
    "qwen3moe": Row("qwen3_moe", {**EXPERTS, "num_experts": 8, "norm_topk_prob": True}),
    "qwen3vlmoe": Row(
        "qwen3_vl_moe_text",
        {
            **EXPERTS,
            "num_experts": 8,
            "rope_parameters": {**ROPE, "mrope_section": [6, 5, 5], "mrope_interleaved": True},
        },
        headless=True,
    ),
    "qwen2moe": Row(
        "qwen2_moe",
        {**EXPERTS, "num_experts": 8, "shared_expert_intermediate_size": 80},
    ),
    "gpt-oss": Row(
        "gpt_oss",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 3,
            "intermediate_size": 40,
            "layer_types": [LOCAL, GLOBAL],
            "rope_parameters": {**YARN, "truncate": True},
        },
        turned=True,
        interleaved=True,
    ),
    "deepseek2": Row(
        "deepseek_v3",
        {
            **LATENT,
            "head_dim": 8,
            "rope_parameters": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
    ),
    "mistral4@softmax": Row(
        "mistral4",
        {
            **LATENT,
            "head_dim": 24,
            "rope_parameters": {
                **YARN,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.3,
                "partial_rotary_factor": 8 / 24,
            },
        },
        headless=True,
    ),
    "olmoe": Row("olmoe", {"num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": False}),
    "granitemoe": Row(
        "granitemoeshared",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 3,
            "shared_intermediate_size": 80,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "attention_multiplier": 0.3,
            "logits_scaling": 2.5,
        },
        permuted=True,
    ),
    "glm4moe": Row(
        "glm4_moe",
        {
            **DEEPSEEK,
            "n_shared_experts": 1,
            "use_qk_norm": True,
            "attention_bias": True,
            "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
        },
    ),
    "ernie4_5-moe": Row(
        "ernie4_5_moe",
        {
            "moe_num_experts": 8,
            "moe_k": 3,
            "moe_intermediate_size": 40,
            "moe_layer_start_index": 1,
            "moe_num_shared_experts": 2,
            "mlp_layer_types": DENSE_FIRST,
        },
    ),
    "hunyuan-moe": Row("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": 3}),
    "minimax-m2": Row(
        "minimax_m2",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 3,
            "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
        },
    ),
    "dots1": Row("dots1", DEEPSEEK),
    "phimoe@sparsemixer": Row(
        "phimoe",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "router_jitter_noise": 0.2,
            "attention_bias": True,
            "lm_head_bias": True,
            "rope_parameters": {
                **LONGROPE,
                "original_max_position_embeddings": 256,
                "short_mscale": 1.2,
                "long_mscale": 1.2,
            },
        },
    ),
    "llama4": Row(
        "llama4_text",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 1,
            "intermediate_size": 40,
            "intermediate_size_mlp": 96,
            "interleave_moe_layer_step": 2,
            "rope_parameters": LLAMA3,
        },
        turned=True,
    ),
    "llama4@chunks": Row(
        "llama4_text",
        {
            "num_local_experts": 8,
            "num_experts_per_tok": 1,
            "intermediate_size": 40,
            "interleave_moe_layer_step": 1,
            "attention_chunk_size": 6,
            "floor_scale": 8,
            "attn_scale": 0.3,
        },
        turned=True,
    ),
    "afmoe": Row(
        "afmoe",
        {
            **EXPERTS,
            "num_experts": 8,
            "num_dense_layers": 1,
            "num_shared_experts": 1,
            "route_scale": 2.5,
            "mup_enabled": True,
            "layer_types": [LOCAL] * 3 + [GLOBAL],
        },
    ),
    "cohere2moe": Row(
        "cohere2_moe",
        {
            "num_experts": 8,
            "num_experts_per_tok": 3,
            "num_shared_experts": 2,
            "intermediate_size": 40,
            "prefix_dense_intermediate_size": 96,
            "first_k_dense_replace": 1,
            "mlp_layer_types": ["dense"] + ["sparse"] * 4,
            "layer_types": [GLOBAL, LOCAL, LOCAL, LOCAL, GLOBAL],
            "logit_scale": 0.25,
        },
    ),
    "exaone-moe": Row(
        "exaone_moe",
        {
            **DEEPSEEK,
            "num_experts": 8,
            "num_shared_experts": 2,
            "layer_types": [LOCAL] * 3 + [GLOBAL],
            "mlp_layer_types": [*DENSE_FIRST, "sparse"],
        },
    ),
    "exaone-moe@ahead": Row(
        "exaone_moe",
        {
            **DEEPSEEK,
            "num_hidden_layers": 3,
            "n_group": 1,
            "topk_group": 1,
            "num_experts": 8,
            "num_shared_experts": 2,
            "layer_types": [LOCAL, GLOBAL, LOCAL],
        },
    ),
}

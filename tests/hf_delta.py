"""Rows of make_arch_oracles with the gated delta rule or short convolutions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from hf_mixtures import EXPERTS
from hf_parts import GLOBAL, ROPE, Row
from numpy.typing import NDArray

Array = NDArray[np.float32]
Made = tuple[Array, tuple[str, ...]]

LINEAR = "linear_attention"
ALIKE = {
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.in_proj_ba.weight": "ssm_ba.weight",
    "self_attn.forget_gate.dt_bias": "ssm_dt.bias",
    "self_attn.forget_gate.f_a_proj.weight": "ssm_f_a.weight",
    "self_attn.forget_gate.f_b_proj.weight": "ssm_f_b.weight",
    "self_attn.b_proj.weight": "ssm_beta.weight",
    "self_attn.g_a_proj.weight": "ssm_g_a.weight",
    "self_attn.g_b_proj.weight": "ssm_g_b.weight",
    "self_attn.o_norm.weight": "ssm_norm.weight",
}
"""Parameters of a layer and what they are in files."""


def remade(theirs: str, tensors: Mapping[str, Array], config: Any) -> Made | None:
    """A parameter that files have under another name or in another form, and whence it is made;
    None for others.
    """
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", theirs)
    if layer is None:
        return None
    at, stem = f"blk.{layer[1]}.", layer[2]
    if stem.endswith("A_log"):
        return np.log(-by_groups(tensors[f"{at}ssm_a"], config)), (f"{at}ssm_a",)
    if stem == "linear_attn.in_proj_qkvz.weight":
        return qkvz(at, tensors, config)
    if stem == "self_attn.conv1d.weight":
        names = tuple(f"{at}ssm_conv1d_{part}.weight" for part in "qkv")
        return np.concatenate([tensors[name] for name in names]), names
    if stem not in ALIKE:
        return None
    name = at + ALIKE[stem]
    value = tensors[name]
    if stem.endswith("out_proj.weight"):
        value = by_groups(value.T, config).T
    elif stem.endswith(("in_proj_qkv.weight", "conv1d.weight")):
        n = 2 * config.linear_num_key_heads * config.linear_key_head_dim
        value = np.concatenate([value[:n], by_groups(value[n:], config)])
    elif stem.endswith(("dt_bias", "_z.weight", "_a.weight", "in_proj_b.weight")):
        value = by_groups(value, config)
    return value, (name,)


def by_groups(value: Array, config: Any) -> Array:
    """Rows of heads, those that share q and k side by side: files of Qwen3.5 have them apart."""
    if not config.model_type.startswith("qwen3_5"):
        return value
    n = config.linear_num_key_heads
    shape = (config.linear_num_value_heads // n, n, -1, *value.shape[1:])
    return value.reshape(shape).swapaxes(0, 1).reshape(value.shape)


def qkvz(at: str, tensors: Mapping[str, Array], config: Any) -> Made:
    """Qwen3-Next's: q, k, v and the gate of each head of k."""
    if f"{at}ssm_in.weight" in tensors:
        return tensors[f"{at}ssm_in.weight"], (f"{at}ssm_in.weight",)
    names = (f"{at}attn_qkv.weight", f"{at}attn_gate.weight")
    joined, gate = (tensors[name] for name in names)
    n = config.linear_num_key_heads
    keys = n * config.linear_key_head_dim
    parts = [*np.split(joined, [keys, 2 * keys]), gate]
    grouped = [part.reshape(n, -1, part.shape[1]) for part in parts]
    return np.concatenate(grouped, axis=1).reshape(-1, joined.shape[1]), names


QWEN = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5},
    "layer_types": [LINEAR, GLOBAL, LINEAR],
}
MOE = {**QWEN, **EXPERTS, "num_experts": 8, "norm_topk_prob": True}
SHARED = {**MOE, "shared_expert_intermediate_size": 80}
LFM = {
    "num_key_value_heads": 2,
    "norm_eps": 1e-5,
    "block_auto_adjust_ff_dim": False,
    "conv_L_cache": 3,
    "layer_types": ["conv", GLOBAL, "conv"],
}

DELTAS: dict[str, Row] = {
    "qwen35": Row("qwen3_5_text", QWEN, minus_one=True, remade=remade),
    "qwen35@layers": Row(
        "qwen3_5_text",
        {
            **QWEN,
            "linear_value_head_dim": 20,
            "layer_types": [GLOBAL, LINEAR, LINEAR],
            "num_hidden_layers": 3,
        },
        minus_one=True,
        remade=remade,
    ),
    "qwen35moe": Row("qwen3_5_moe_text", SHARED, minus_one=True, remade=remade),
    "qwen3next": Row("qwen3_next", SHARED, minus_one=True, remade=remade),
    "qwen3next@old": Row(
        "qwen3_next",
        {**MOE, "shared_expert_intermediate_size": 96},
        minus_one=True,
        remade=remade,
    ),
    "lfm2": Row("lfm2", LFM),
    "lfm2moe": Row("lfm2_moe", {**LFM, **EXPERTS, "num_experts": 8, "num_dense_layers": 1}),
    "kimi-linear": Row(
        "kimi_linear",
        {
            **EXPERTS,
            "num_key_value_heads": 4,
            "num_local_experts": 8,
            "n_shared_experts": 2,
            "mlp_layer_types": ["dense", "sparse", "sparse"],
            "routed_scaling_factor": 2.5,
            "kv_lora_rank": 32,
            "q_lora_rank": None,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 20,
            "linear_head_dim": 16,
            "linear_num_heads": 4,
            "linear_conv_kernel_dim": 4,
            "layer_types": [LINEAR, GLOBAL, LINEAR],
        },
        without=("head_dim",),
        remade=remade,
    ),
}

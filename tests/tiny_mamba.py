"""The entries of tiny_models with layers of Mamba and Mamba-2."""

from __future__ import annotations

import numpy as np
from tiny_parts import DIM, LAYER_NORM, OUTPUT, Tiny

NO_ROPE = {"rope.freq_base": None}
NO_ATTENTION = {
    **NO_ROPE,
    "attention.head_count": 0,
    "attention.head_count_kv": None,
    "feed_forward_length": 0,
}
UNREAD = ("attention.head_count",)
"""llama.cpp asks for it."""
SSM = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 4,
}
SSM2 = {**SSM, "ssm.time_step_rank": 8, "ssm.group_count": 2}
BETWEEN = {"block_count": 3, "attention.head_count_kv": [0, 2, 0]}
"""Attention between two other layers."""
CONV_BIASES = ("blk.0.ssm_conv1d.bias", "blk.2.ssm_conv1d.bias")
GRANITE = {
    "embedding_scale": 3.0,
    "residual_scale": 0.4,
    "attention.scale": 0.3,
    "logit_scale": 2.5,
}
MOE = {"expert_count": 6, "expert_used_count": 2}
NEMOTRON = {
    **SSM2,
    **MOE,
    **NO_ROPE,
    **BETWEEN,
    "attention.layer_norm_epsilon": 1e-2,
    "attention.key_length": 32,
    "attention.value_length": 32,
    "feed_forward_length": [0, 0, 40],
    "expert_feed_forward_length": 40,
    "expert_shared_feed_forward_length": 80,
    "expert_shared_count": 1,
    "expert_weights_norm": True,
    "expert_weights_scale": 2.5,
    "expert_group_count": 1,
}
PASSED_OVER = ("attention.layer_norm_epsilon", "expert_shared_count", "expert_group_count")

HEADS = ("ssm_a", "ssm_d")

MAMBAS: dict[str, Tiny] = {
    "mamba": Tiny({**NO_ATTENTION, **SSM}, OUTPUT, harmless=UNREAD),
    "mamba@norms": Tiny({**NO_ATTENTION, **SSM, "ssm.dt_b_c_rms": True}, harmless=UNREAD),
    "mamba2": Tiny({**NO_ATTENTION, **SSM2}, harmless=UNREAD, columns=HEADS),
    "mamba2@one": Tiny(
        {**NO_ATTENTION, **SSM2, "ssm.group_count": 1}, OUTPUT, harmless=UNREAD, columns=HEADS
    ),
    "granitehybrid": Tiny(
        {**SSM2, **BETWEEN, **GRANITE, "ssm.group_count": 1, "rope.scaling.finetuned": False}
        | NO_ROPE,
        CONV_BIASES,
        columns=HEADS,
    ),
    "granitehybrid@experts": Tiny(
        {
            **SSM2,
            **BETWEEN,
            **MOE,
            "logit_scale": 2.5,
            "expert_shared_feed_forward_length": 80,
            "ssm.group_count": 1,
        },
        (*CONV_BIASES, *OUTPUT),
        columns=HEADS,
    ),
    "nemotron_h": Tiny(
        {
            **SSM2,
            **BETWEEN,
            **LAYER_NORM,
            **NO_ROPE,
            "attention.key_length": 32,
            "attention.value_length": 32,
            "feed_forward_length": [0, 0, 96],
        },
        (*OUTPUT, CONV_BIASES[0]),
        columns=HEADS,
    ),
    "nemotron_h@biases": Tiny(
        {**SSM2, **BETWEEN, **NO_ROPE, "attention.layer_norm_epsilon": 1e-2}
        | {"feed_forward_length": [0, 0, 96]},
        (
            *CONV_BIASES[:1],
            *("blk.1.attn_q.bias", "blk.1.attn_v.bias", "blk.1.attn_output.bias"),
            *("blk.2.ffn_up.bias", "blk.2.ffn_down.bias"),
        ),
        harmless=("attention.layer_norm_epsilon",),
        columns=HEADS,
    ),
    "falcon-h1": Tiny(
        {**SSM2, "ssm.inner_size": 96, "attention.key_length": 32, "attention.value_length": 32},
        ("blk.*.ffn_norm", "blk.*.ssm_conv1d.bias", *OUTPUT),
        columns=HEADS,
    ),
    "falcon-h1@norm": Tiny(
        SSM2, ("blk.*.ffn_norm", "blk.*.ssm_norm.weight", "blk.*.ssm_conv1d.bias"), columns=HEADS
    ),
    "jamba": Tiny(
        {
            **SSM,
            **MOE,
            **NO_ROPE,
            "block_count": 4,
            "attention.head_count_kv": [0, 0, 2, 0],
        },
        ("blk.1.ffn_gate_inp.weight", "blk.3.ffn_gate_inp.weight", *OUTPUT),
    ),
    "nemotron_h_moe": Tiny(
        NEMOTRON,
        (CONV_BIASES[0], *OUTPUT),
        harmless=PASSED_OVER,
        columns=HEADS,
    ),
    "nemotron_h_moe@latent": Tiny(
        {
            **NEMOTRON,
            "block_count": 4,  # the last predicts tokens further ahead
            "nextn_predict_layers": 1,
            "attention.head_count_kv": [0, 2, 0, 2],
            "feed_forward_length": [0, 0, 40, 40],
            "moe_latent_size": 32,
            "expert_feed_forward_length": [0, 0, 40, 40],
            "expert_used_count": [0, 0, 2, 2],
        },
        (CONV_BIASES[0], *OUTPUT),
        {"blk.3.nextn.enorm.weight": np.ones(DIM)},
        harmless=(*PASSED_OVER, "blk.3.nextn.enorm.weight"),
        columns=HEADS,
    ),
    "plamo2": Tiny(
        {
            **SSM,
            **BETWEEN,
            "attention.head_count": [0, 4, 0],
            "attention.key_length": 32,
            "attention.value_length": 32,
            "ssm.group_count": 0,
        },
        (
            *("blk.1.attn_qkv.weight", "blk.*.post_attention_norm", "blk.*.post_ffw_norm"),
            *(f"blk.{i}.ssm_{name}_norm" for i in (0, 2) for name in ("dt", "b", "c")),
            *OUTPUT,
        ),
        harmless=("ssm.group_count",),
    ),
}

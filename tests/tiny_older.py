"""Tiny models of the older dense architectures: see `tiny_models`."""

from __future__ import annotations

import numpy as np
from tiny_parts import (
    LAYER_NORM,
    NETWORK_BIASES,
    OUTPUT,
    QKV_BIASES,
    YARN,
    Tiny,
    factors,
    llama3_factors,
)

OLDER: dict[str, Tiny] = {
    "gpt2": Tiny(
        {**LAYER_NORM, "rope.freq_base": None, "attention.head_count_kv": None},
        ("blk.*.attn_qkv.weight", *OUTPUT),
    ),
    "starcoder": Tiny(
        {**LAYER_NORM, "rope.freq_base": None, "attention.head_count_kv": 1},
        ("blk.*.attn_qkv.weight",),
    ),
    "starcoder2": Tiny(LAYER_NORM, (*QKV_BIASES, *OUTPUT)),
    "codeshell": Tiny(LAYER_NORM, ("blk.*.attn_qkv.weight", "blk.*.attn_qkv.bias", *OUTPUT)),
    "phi2": Tiny({**LAYER_NORM, "rope.dimension_count": 8}, (*QKV_BIASES, *OUTPUT)),
    "gptneox": Tiny(
        {
            **LAYER_NORM,
            "rope.dimension_count": 8,
            "attention.head_count_kv": None,
            "use_parallel_residual": True,
        },
        ("blk.*.attn_qkv.weight", *OUTPUT),
    ),
    "gptneox@serial": Tiny(
        {**LAYER_NORM, "attention.head_count_kv": None, "use_parallel_residual": False},
        ("blk.*.attn_qkv.weight", *OUTPUT),
    ),
    "falcon": Tiny({**LAYER_NORM, "attention.head_count_kv": 1}, ("blk.*.attn_qkv.weight",)),
    "falcon@40b": Tiny(LAYER_NORM, ("blk.*.attn_qkv.weight", "blk.*.attn_norm_2.weight", *OUTPUT)),
    "bloom": Tiny(
        {
            **LAYER_NORM,
            "rope.freq_base": None,
            "attention.head_count_kv": None,
            "feed_forward_length": 256,
        },
        ("blk.*.attn_qkv.weight",),
    ),
    "mpt": Tiny(
        {
            **LAYER_NORM,
            "feed_forward_length": 256,
            "attention.head_count_kv": None,
            "rope.freq_base": None,
            "attention.max_alibi_bias": 8.0,
            "attention.clamp_kqv": 0.5,
        },
        ("blk.*.attn_qkv.weight",),
    ),
    "mpt@biases": Tiny(
        {**LAYER_NORM, "rope.freq_base": None, "attention.head_count_kv": None},
        (
            *("position_embd.weight", "output_norm.bias", *OUTPUT),
            *("blk.*.attn_qkv.weight", "blk.*.attn_qkv.bias"),
            *("blk.*.attn_norm.bias", "blk.*.ffn_norm.bias", *NETWORK_BIASES),
        ),
    ),
    "jais": Tiny(
        {
            **LAYER_NORM,
            "rope.freq_base": None,
            "attention.head_count_kv": None,
            "attention.max_alibi_bias": 6.0,
        },
        ("blk.*.attn_qkv.weight", *OUTPUT),
    ),
    "refact": Tiny(
        {
            "rope.freq_base": None,
            "attention.head_count": 6,
            "attention.head_count_kv": 1,
            "attention.key_length": 16,
            "attention.value_length": 16,
        },
        OUTPUT,
    ),
    "baichuan": Tiny({"block_count": 32}, OUTPUT),
    "baichuan@13b": Tiny({"block_count": 40, "rope.freq_base": None}, OUTPUT),
    "xverse": Tiny({}, OUTPUT),
    "orion": Tiny(LAYER_NORM, OUTPUT),
    "internlm2": Tiny({}, (*QKV_BIASES, *OUTPUT)),
    "plamo": Tiny({}, OUTPUT),
    "stablelm": Tiny(
        {**LAYER_NORM, "rope.dimension_count": 8},
        (*QKV_BIASES, "blk.*.ffn_norm.weight", *OUTPUT),
    ),
    "stablelm@12b": Tiny(
        {**LAYER_NORM, "rope.dimension_count": 8},
        ("blk.*.attn_q_norm.weight", "blk.*.attn_k_norm.weight", *OUTPUT),
    ),
    "minicpm": Tiny({"embedding_scale": 3.0, "residual_scale": 0.4, "logit_scale": 2.5}, OUTPUT),
    "minicpm@old": Tiny(),
    "nemotron": Tiny({**LAYER_NORM, "rope.dimension_count": 8}, OUTPUT),
    "nemotron@biases": Tiny(LAYER_NORM, (*QKV_BIASES, *NETWORK_BIASES, *OUTPUT)),
    "arcee": Tiny({}, OUTPUT, {"rope_freqs.weight": llama3_factors(16, 500.0, 64)}),
    "arcee@yarn": Tiny(YARN),
    "apertus": Tiny(
        {
            "xielu.alpha_p": np.array([0.7, -0.4], np.float32),
            "xielu.alpha_n": np.array([0.2, 1.3], np.float32),
            "xielu.beta": 0.5,
            "xielu.eps": -1e-6,
        },
        OUTPUT,
        {"rope_freqs.weight": llama3_factors(16, 500.0, 64)},
    ),
    "deci": Tiny(
        {
            "block_count": 5,
            "attention.head_count": [4, 0, 4, 0, 4],
            "attention.head_count_kv": [2, 0, 0, 0, 4],
            "feed_forward_length": [96, 64, 32, 0, 96],
        },
        OUTPUT,
        {"rope_freqs.weight": factors(8, 1.0, 8.0)},
    ),
    "chatglm": Tiny(
        {"rope.dimension_count": 8},
        ("blk.*.attn_qkv.weight", "blk.*.attn_qkv.bias", *OUTPUT),
    ),
    "exaone": Tiny({}, OUTPUT, {"rope_freqs.weight": llama3_factors(16, 500.0, 64)}),
    "qwen": Tiny(
        {"attention.head_count_kv": None}, ("blk.*.attn_qkv.weight", "blk.*.attn_qkv.bias", *OUTPUT)
    ),
    "jais2": Tiny(
        {**LAYER_NORM, "attention.head_count_kv": None}, (*QKV_BIASES, *NETWORK_BIASES, *OUTPUT)
    ),
    "openelm": Tiny(
        {
            "attention.head_count": [2, 4],
            "attention.head_count_kv": [1, 2],
            "feed_forward_length": [64, 96],
            "attention.key_length": 16,
            "attention.value_length": 16,
        },
        ("blk.*.attn_qkv.weight",),
    ),
    "bitnet": Tiny(
        {},
        (
            *(f"blk.*.attn_{stem}.scale" for stem in ("q", "k", "output")),
            *("blk.*.ffn_gate.scale", "blk.*.ffn_down.scale"),  # of the others norms leave nothing
        ),
    ),
    "bitnet@relu2": Tiny({"hidden_activation": "relu2"}),
    "maincoder": Tiny(),
    "pangu-embedded": Tiny({}, (*QKV_BIASES, *OUTPUT)),
}

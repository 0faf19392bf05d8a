"""Tiny models that give hidden states: encoders, and decoders with a pooling."""

from __future__ import annotations

import numpy as np
from oracles import uniform
from tiny_parts import KEYS, LAYER_NORM, NETWORK_BIASES, QKV_BIASES, WIDE, WINDOW, Tiny

BERT = {
    **LAYER_NORM,
    "attention.head_count_kv": None,
    "attention.causal": False,
    "rope.freq_base": None,
    "tokenizer.ggml.token_type_count": 2,
    "pooling_type": 2,
}
ROTARY = {**BERT, "rope.freq_base": KEYS["rope.freq_base"]}
T5 = {
    "attention.key_length": 4,  # scores are not scaled: more would leave one row the whole weight
    "attention.value_length": 4,
    "attention.head_count_kv": None,
    "rope.freq_base": None,
    "attention.relative_buckets_count": 8,
    "pooling_type": 1,
}
ANSWERING = {
    **T5,
    "pooling_type": None,
    "decoder_start_token_id": 5,
}
TYPES = ("token_types.weight",)
HARMLESS = ("attention.causal", "pooling_type")
"""The latter says what is made of hidden states, not how they come about."""

ENCODERS: dict[str, Tiny] = {
    "bert": Tiny(BERT, (*TYPES, *QKV_BIASES, *NETWORK_BIASES), harmless=HARMLESS),
    "bert@fused": Tiny(
        {**BERT, "tokenizer.ggml.token_type_count": 1, "pooling_type": 1},
        ("blk.*.attn_qkv.weight", "blk.*.attn_qkv.bias", *NETWORK_BIASES),
        harmless=(*HARMLESS, "tokenizer.ggml.token_type_count"),
    ),
    "nomic-bert": Tiny({**ROTARY, "pooling_type": 1}, TYPES, harmless=HARMLESS),
    "nomic-bert-moe": Tiny(
        {
            **ROTARY,
            "block_count": 4,
            "expert_count": 6,
            "expert_used_count": 2,
            "moe_every_n_layers": 2,
            "pooling_type": 1,
        },
        (
            *(*TYPES, *QKV_BIASES, "blk.*.attn_output.bias"),
            *("blk.0.ffn_up.bias", "blk.2.ffn_up.bias"),
            *("blk.0.ffn_down.bias", "blk.2.ffn_down.bias"),
        ),
        harmless=HARMLESS,
    ),
    "jina-bert-v2": Tiny({**BERT, "pooling_type": 1}, (*TYPES, *QKV_BIASES), harmless=HARMLESS),
    "jina-bert-v2@fused": Tiny(
        {**BERT, "pooling_type": 1},
        (
            *(*TYPES, *QKV_BIASES, "blk.*.attn_norm_2.weight"),
            *("blk.*.attn_q_norm.weight", "blk.*.attn_k_norm.weight"),
        ),
        {
            f"blk.{i}.ffn_up.weight": uniform(np.random.PCG64(i), 192 * 64).reshape(192, 64) / 6
            for i in range(2)
        },
        harmless=HARMLESS,
    ),
    "jina-bert-v2@gate": Tiny(
        {**BERT, "pooling_type": 1},
        (*TYPES, *QKV_BIASES, "blk.*.ffn_gate.weight"),
        harmless=HARMLESS,
    ),
    "jina-bert-v3": Tiny(
        {**ROTARY, "tokenizer.ggml.token_type_count": 1, "pooling_type": 1},
        (*TYPES, *QKV_BIASES, *NETWORK_BIASES),
        harmless=HARMLESS,
    ),
    "modern-bert": Tiny(
        {
            **LAYER_NORM,
            **WINDOW,
            "attention.head_count_kv": None,
            "attention.causal": False,
            "rope.freq_base_swa": 100.0,
            "block_count": 4,
            "hidden_activation": "silu",
        },
        ("blk.*.attn_qkv.weight",),
        harmless=("attention.causal",),
    ),
    "modern-bert@gelu": Tiny(
        {
            **LAYER_NORM,
            **WINDOW,
            "attention.head_count_kv": None,
            "attention.sliding_window_pattern": 2,
            "block_count": 3,
            "pooling_type": 2,
        },
        ("blk.*.attn_qkv.weight", "blk.0.attn_norm.weight"),
        harmless=("pooling_type",),
    ),
    "gemma-embedding": Tiny(
        {**WIDE, **WINDOW, "block_count": 6, "pooling_type": 1}, harmless=("pooling_type",)
    ),
    "eurobert": Tiny({"attention.causal": False, "pooling_type": 1}, harmless=HARMLESS),
    "neo-bert": Tiny(
        {
            "attention.head_count_kv": None,
            "attention.causal": False,
            "pooling_type": 2,
        },
        ("blk.*.attn_qkv.weight",),
        harmless=HARMLESS,
    ),
    "t5encoder": Tiny(T5, ("enc.blk.0.ffn_gate.weight",), harmless=("pooling_type",)),
    "t5encoder@each": Tiny(
        T5,
        ("enc.blk.0.ffn_gate.weight", "enc.blk.*.attn_rel_b.weight"),
        harmless=("pooling_type",),
    ),
    "t5encoder@plain": Tiny(T5, harmless=("pooling_type",)),
    "t5@embedding": Tiny(T5, ("enc.blk.0.ffn_gate.weight",)),
    "llama-embed": Tiny({"attention.causal": False, "pooling_type": 1}, harmless=("pooling_type",)),
    "qwen3@embedding": Tiny({**WIDE, "pooling_type": 3}),
    "qwen2@two-sided": Tiny(
        {"attention.causal": False, "pooling_type": 1}, harmless=("pooling_type",)
    ),
}

ENCODERS_WITH_DECODERS: dict[str, Tiny] = {
    "t5": Tiny(
        {**ANSWERING, "decoder_block_count": 3},
        ("enc.blk.0.ffn_gate.weight", "output.weight"),
        harmless=("decoder_start_token_id",),
    ),
    "t5@each": Tiny(
        ANSWERING,
        (
            "enc.blk.0.ffn_gate.weight",
            *("enc.blk.*.attn_rel_b.weight", "dec.blk.*.attn_rel_b.weight"),
        ),
        harmless=("decoder_start_token_id",),
    ),
    "t5@plain": Tiny({**ANSWERING, "decoder_block_count": 1}, harmless=("decoder_start_token_id",)),
}
"""These answer the first N_ENCODED of TOKENS, and have logits of the others."""
N_ENCODED = 17

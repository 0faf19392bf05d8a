"""How tiny encoders are made with transformers."""

from __future__ import annotations

from dataclasses import replace

from hf_parts import GLOBAL, LOCAL, ROPE, Row
from tiny_encoders import N_ENCODED

BERT = {"type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
DECODER_NAMES = {"layers.": "model.layers.", "embed_tokens.": "model.embed_tokens."}
NORMS = {
    "post_attention_layernorm": "attn_output_norm",
    "post_mlp_layernorm": "layer_output_norm",
}
PROJECTIONS = {
    "layers.": "blk.",
    **{f"self_attn.{part}_proj": f"attn_{part}" for part in "qkv"},
    "self_attn.o_proj": "attn_output",
    **NORMS,
}

T5 = Row(
    "t5",
    {
        "d_ff": 96,
        "relative_attention_num_buckets": 8,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-5,
    },
    hidden=True,
    auto="AutoModelForTextEncoding",
)
T5_ANSWERING = replace(
    T5,
    config={**T5.config, "tie_word_embeddings": False},
    hidden=False,
    auto="AutoModelForSeq2SeqLM",
    n_encoded=N_ENCODED,
)

HF_ENCODERS: dict[str, Row] = {
    "bert": Row("bert", BERT, ("rms_norm_eps",), hidden=True),
    "nomic-bert": Row(
        "nomic_bert",
        {**BERT, "hidden_act": "silu", "head_dim": 16},
        hidden=True,
        renamed={
            **PROJECTIONS,
            **{f"mlp.{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")},
        },
    ),
    "jina-bert-v3": Row(
        "jina_embeddings_v3",
        {**BERT, "type_vocab_size": 1, "head_dim": 16},
        hidden=True,
        renamed={**PROJECTIONS, "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"},
    ),
    "modern-bert": Row(
        "modernbert",
        {
            "norm_eps": 1e-5,
            "cls_token_id": 0,
            "sep_token_id": 0,
            "local_attention": 6,
            "hidden_activation": "silu",
            "layer_types": [GLOBAL, LOCAL, LOCAL, GLOBAL],
            "rope_parameters": {LOCAL: {**ROPE, "rope_theta": 100.0}, GLOBAL: ROPE},
        },
        ("sliding_window",),
        hidden=True,
    ),
    "gemma-embedding": Row(
        "gemma3_text",
        {
            "query_pre_attn_scalar": 32,
            "use_bidirectional_attention": True,
            "layer_types": [LOCAL] * 5 + [GLOBAL],
            "rope_parameters": {LOCAL: {**ROPE, "rope_theta": 10000.0}, GLOBAL: ROPE},
        },
        minus_one=True,
        hidden=True,
    ),
    "eurobert": Row("eurobert", {"mask_token_id": 0}, hidden=True),
    "t5encoder": T5,
    "t5@embedding": T5,
    "t5": replace(T5_ANSWERING, config={**T5_ANSWERING.config, "num_decoder_layers": 3}),
    "t5@each": replace(
        T5_ANSWERING, kind="umt5", config={**T5_ANSWERING.config, "num_decoder_layers": 2}
    ),
    "t5@plain": replace(
        T5_ANSWERING, config={**T5.config, "num_decoder_layers": 1, "feed_forward_proj": "relu"}
    ),
    "t5encoder@each": replace(T5, kind="umt5"),
    "t5encoder@plain": replace(T5, config={**T5.config, "feed_forward_proj": "relu"}),
    "qwen3@embedding": Row("qwen3", hidden=True),
}

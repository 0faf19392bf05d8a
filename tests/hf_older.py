"""How tiny models of the older dense architectures are made with transformers."""

from __future__ import annotations

from hf_parts import HALF, LLAMA3, WHOLE, YARN, Row

GPT = {
    "n_embd": 64,
    "n_inner": 96,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "layer_norm_epsilon": 1e-5,
}
FALCON = {
    "layer_norm_epsilon": 1e-5,
    "ffn_hidden_size": 96,
    "parallel_attn": True,
    "bias": False,
    "alibi": False,
}
SUB_NORMS = {"attn_sub_norm": "inner_attn_ln", "ffn_sub_norm": "ffn_layernorm"}

OLDER: dict[str, Row] = {
    "gpt2": Row("gpt2", {**GPT, "activation_function": "gelu_new"}, transposed=True),
    "starcoder": Row(
        "gpt_bigcode", {**GPT, "activation_function": "gelu_pytorch_tanh", "multi_query": True}
    ),
    "starcoder2": Row("starcoder2", {"norm_epsilon": 1e-5, "use_bias": True}),
    "phi2": Row("phi", {"rope_parameters": HALF}),
    "gptneox": Row("gpt_neox", {"rope_parameters": HALF}, grouped=True),
    "gptneox@serial": Row(
        "gpt_neox", {"use_parallel_residual": False, "rope_parameters": WHOLE}, grouped=True
    ),
    "falcon": Row("falcon", {**FALCON, "multi_query": True}, ("head_dim",), grouped=True),
    "falcon@40b": Row(
        "falcon",
        {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
        ("head_dim",),
        grouped=True,
    ),
    "bloom": Row("bloom", {"layer_norm_epsilon": 1e-5}, grouped=True, renamed={"transformer.": ""}),
    "mpt": Row(
        "mpt",
        {
            "d_model": 64,
            "n_layers": 2,
            "n_heads": 4,
            "attn_config": {"clip_qkv": 0.5, "alibi": True, "alibi_bias_max": 8},
        },
    ),
    "stablelm": Row(
        "stablelm",
        {"use_qkv_bias": True, "use_parallel_residual": False, "rope_parameters": HALF},
    ),
    "nemotron": Row("nemotron", {"norm_eps": 1e-5, "rope_parameters": HALF}, minus_one=True),
    "nemotron@biases": Row(
        "nemotron",
        {
            "norm_eps": 1e-5,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": WHOLE,
        },
        minus_one=True,
    ),
    "arcee": Row("arcee", {"rope_parameters": LLAMA3}, permuted=True),
    "arcee@yarn": Row("arcee", {"rope_parameters": YARN}, permuted=True),
    "apertus": Row("apertus", {"rope_parameters": LLAMA3}),
    "chatglm": Row("glm", {"attention_bias": True, "rope_parameters": HALF}),
    "minicpm": Row(
        "granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "attention_multiplier": 0.25,
            "logits_scaling": 2.5,
        },
        permuted=True,
    ),
    "minicpm@old": Row(
        "granite",
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 1.4 / 2**0.5,
            "attention_multiplier": 0.25,
            "logits_scaling": 64 / 256,
        },
        permuted=True,
    ),
    "xverse": Row("llama", permuted=True),
    "internlm2": Row("qwen2", permuted=True),
    "exaone": Row("llama", {"rope_parameters": LLAMA3}),
    "jais2": Row("jais2"),
    "bitnet": Row("bitnet", {"hidden_act": "silu"}, renamed=SUB_NORMS),
    "bitnet@relu2": Row("bitnet", {"hidden_act": "relu2"}, renamed=SUB_NORMS),
    "pangu-embedded": Row("llama", {"attention_bias": True}),
}

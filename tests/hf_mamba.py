"""Rows of make_arch_oracles for models with layers of Mamba and Mamba-2."""

from __future__ import annotations

from hf_parts import ROPE, Row

SSM = {"state_size": 16, "conv_kernel": 4, "expand": 2, "layer_norm_epsilon": 1e-5}
IN_HYBRIDS = {"mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2}
HEADS = {**IN_HYBRIDS, "mamba_n_heads": 8, "mamba_n_groups": 1}
LAYERS = ["linear_attention", "full_attention", "linear_attention"]
DT = {"dt_bias": "dt_proj.bias"}
NO_WIDTH = ("intermediate_size",)

NEMOTRON = {
    "layers_block_type": ["linear_attention", "full_attention", "mlp"],
    "ssm_state_size": 16,
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "layer_norm_epsilon": 1e-5,
}
NEMOTRON_MOE = {
    **NEMOTRON,
    "layers_block_type": ["linear_attention", "full_attention", "moe"],
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
    "moe_shared_expert_intermediate_size": 80,
    "routed_scaling_factor": 2.5,
}

MAMBA: dict[str, Row] = {
    "mamba": Row("mamba", {**SSM, "time_step_rank": 4}, without=NO_WIDTH),
    "mamba@norms": Row(
        "falcon_mamba", {**SSM, "time_step_rank": 4, "mixer_rms_eps": 1e-5}, without=NO_WIDTH
    ),
    "mamba2@one": Row(
        "mamba2",
        {**SSM, "num_heads": 8, "head_dim": 16, "n_groups": 1},
        without=NO_WIDTH,
        renamed=DT,
    ),
    "granitehybrid@experts": Row(
        "granitemoehybrid",
        {
            **HEADS,
            "num_key_value_heads": 2,
            "layer_types": LAYERS,
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "intermediate_size": 96,
            "shared_intermediate_size": 80,
            "attention_multiplier": 0.25,
            "logits_scaling": 2.5,
            "position_embedding_type": "rope",
        },
        renamed={**DT, "post_attention_layernorm": "pre_ff_layernorm"},
        permuted=True,
    ),
    "falcon-h1": Row(
        "falcon_h1",
        {**HEADS, "mamba_d_ssm": 96, "mamba_n_groups": 2, "rope_parameters": ROPE},
        renamed=DT,
    ),
    "jamba": Row(
        "jamba",
        {
            **IN_HYBRIDS,
            "mamba_dt_rank": 4,
            "num_key_value_heads": 2,
            "attn_layer_period": 4,
            "attn_layer_offset": 2,
            "num_experts": 6,
            "num_experts_per_tok": 2,
        },
    ),
    "nemotron_h": Row("nemotron_h", NEMOTRON, renamed={**DT, "model.": "backbone."}),
    "nemotron_h_moe": Row("nemotron_h", NEMOTRON_MOE, renamed={**DT, "model.": "backbone."}),
    "nemotron_h_moe@latent": Row(
        "nemotron_h",
        {**NEMOTRON_MOE, "moe_latent_size": 32},
        renamed={**DT, "model.": "backbone."},
    ),
}

"""Tiny models of RWKV and its relatives: see `tiny_models`."""

from __future__ import annotations

import numpy as np
from oracles import uniform
from tiny_parts import LAYER_NORM, OUTPUT, Tiny

NO_ATTENTION = {
    "attention.head_count": 0,
    "attention.head_count_kv": None,
    "rope.freq_base": None,
    "wkv.head_size": 16,
}
RANKS_6 = {"time_mix_extra_dim": 8, "time_decay_extra_dim": 12}
SIZES_7 = {
    "embedding_length": 128,
    "wkv.head_size": 64,  # llama.cpp reads past heads of other widths
    "attention.decay_lora_rank": 8,
    "attention.iclr_lora_rank": 12,
    "attention.value_residual_mix_lora_rank": 10,
    "attention.gate_lora_rank": 20,
}
FUSED = "blk.*.time_mix_lerp_fused.weight"
UNUSED = {
    f"blk.0.time_mix_v{i}.weight": uniform(np.random.PCG64(i), int(np.prod(shape))).reshape(shape)
    for i, shape in enumerate([(128,), (12, 128), (128, 12)])
}
"""What files have because llama.cpp wants it."""
HARMLESS = ("attention.head_count", *UNUSED)
BIASES = tuple(f"blk.*.time_mix_{part}.bias" for part in ("key", "value", "receptance"))

RWKV: dict[str, Tiny] = {
    "rwkv6": Tiny(
        {
            **LAYER_NORM,
            **NO_ATTENTION,
            **RANKS_6,
            "block_count": 3,
            "rescale_every_n_layers": 2,
        },
        (FUSED, *OUTPUT),
        harmless=HARMLESS[:1],
    ),
    "rwkv6@parts": Tiny(
        {**LAYER_NORM, **NO_ATTENTION, **RANKS_6, "wkv.head_size": 32},
        OUTPUT,
        harmless=HARMLESS[:1],
    ),
    "rwkv6qwen2": Tiny(
        {**NO_ATTENTION, **RANKS_6, "attention.head_count_kv": 2, "token_shift_count": 1},
        (FUSED, *BIASES, *OUTPUT),
        harmless=HARMLESS[:1],
    ),
    "rwkv7": Tiny(
        {**LAYER_NORM, **NO_ATTENTION, **SIZES_7, "block_count": 3},
        OUTPUT,
        UNUSED,
        harmless=HARMLESS,
    ),
    "arwkv7": Tiny(
        {**NO_ATTENTION, **SIZES_7, "token_shift_count": 1},
        ("blk.*.time_mix_ln.weight", *OUTPUT),
        UNUSED,
        harmless=HARMLESS,
    ),
    "arwkv7@plain": Tiny(
        {**NO_ATTENTION, **SIZES_7, "attention.gate_lora_rank": 0, "token_shift_count": 1},
        OUTPUT,
        UNUSED,
        harmless=(*HARMLESS, "attention.gate_lora_rank"),
    ),
}

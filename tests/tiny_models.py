"""Tiny random models, one or more for each architecture: metadata here, tensors from seeds.

A new entry of MODELS is named as its architecture, or that and `@` and what is special about it. It
states what differs from KEYS, and the tensors that files may lack; those that the architecture
requires are found in its graph, so nothing else is to be listed. Keys must not have the value that
their absence stands for: a test takes away every key and every tensor, one at a time, and wants an
error or other logits. Windows are shorter than the prompt, and weights of norms far from 1.

Then `python tests/make_arch_oracles.py NAME` computes logits with llama.cpp, and with transformers
where that file has a row for it, and stores them in `tests/data/tiny/NAME.npz`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from oracles import uniform
from tiny_delta import DELTAS
from tiny_encoders import ENCODERS, ENCODERS_WITH_DECODERS
from tiny_mamba import MAMBAS
from tiny_mixtures import MIXTURES
from tiny_older import OLDER
from tiny_parts import (
    DIM,
    KEYS,
    LAYER_NORM,
    LONGROPE,
    N_VOCAB,
    OUTPUT,
    QKV_BIASES,
    WIDE,
    WINDOW,
    YARN,
    Tiny,
    llama3_factors,
)
from tiny_rwkv import RWKV

from qrt.arch.registry import architecture
from qrt.arch.source import Source, full_key, place
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f32 import F32
from qrt.formats.writer import write_gguf

MODELS: dict[str, Tiny] = {
    "llama": Tiny(WIDE, OUTPUT, {"rope_freqs.weight": llama3_factors(32, 500.0, 64)}),
    "llama@biases": Tiny(
        {"rope.scaling.factor": 2.0},
        (*QKV_BIASES, "blk.*.attn_output.bias", "blk.*.ffn_*.bias", "blk.*.attn_q.scale"),
    ),
    "qwen2": Tiny(YARN, OUTPUT),
    "qwen3": Tiny(WIDE),
    "qwen3@fused": Tiny(WIDE, ("blk.*.attn_qkv.weight",)),
    "gemma": Tiny(WIDE),
    "gemma2": Tiny(
        {**WIDE, **WINDOW, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}
    ),
    "gemma2@46": Tiny(
        {
            **WINDOW,
            **WIDE,
            "block_count": 46,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        }
    ),
    "gemma2@pattern": Tiny(
        {
            **WINDOW,
            **WIDE,
            "block_count": 3,
            "attention.sliding_window_pattern": 3,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "rope.freq_base_swa": 100.0,
        }
    ),
    "gemma3": Tiny(
        {
            **WIDE,
            **WINDOW,
            "block_count": 3,
            "attention.sliding_window_pattern": np.array([True, False, True]),
            "rope.freq_base_swa": 100.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
        harmless=("rope.scaling.type",),
    ),
    "gemma3@6": Tiny({**WIDE, **WINDOW, "block_count": 6, "final_logit_softcapping": 3.0}),
    "gemma3n": Tiny(
        {
            **WIDE,
            **WINDOW,
            "block_count": 5,
            "attention.sliding_window_pattern": np.array([True, False, True, False, True]),
            "attention.shared_kv_layers": 2,
            "rope.freq_base_swa": 100.0,
            "altup.num_inputs": 3,
            "altup.active_idx": 1,
            "embedding_length_per_layer_input": 16,
            "activation_sparsity_scale": np.float32([0.8416212, -np.inf, 1.2815516, 0, -np.inf]),
            "final_logit_softcapping": 3.0,
        },
        given={
            f"blk.{i}.laurel_l.weight": uniform(np.random.PCG64(i), 512).reshape(8, 64) / 8
            for i in range(5)
        },
    ),
    "gemma3n@25": Tiny(
        {
            **WINDOW,
            "block_count": 25,
            "attention.shared_kv_layers": 5,
            "feed_forward_length": 512,
            "altup.num_inputs": 4,
            "altup.active_idx": 0,
            "embedding_length_per_layer_input": 256,
            "activation_sparsity_scale": np.float32([1.6448535] * 10 + [-np.inf] * 15),
        },
        given={
            f"blk.{i}.{name}.weight": np.ones(shape)
            for i in range(20, 25)
            for name, shape in {"attn_k": (32, 64), "attn_v": (32, 64), "attn_k_norm": 16}.items()
        }
        | {f"blk.{i}.attn_{part}.scale": np.ones(1) for i in range(20, 25) for part in "kv"},
    ),
    "gemma4": Tiny(
        {
            **WINDOW,
            "block_count": 6,
            "attention.sliding_window_pattern": np.array([True, True, False, True, True, False]),
            "attention.head_count_kv": [2, 2, 1, 2, 2, 1],
            "attention.shared_kv_layers": 3,
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.key_length_swa": 16,
            "attention.value_length_swa": 16,
            "rope.dimension_count": 32,
            "rope.dimension_count_swa": 16,
            "rope.freq_base_swa": 100.0,
            "embedding_length_per_layer_input": 16,
            "feed_forward_length": [96, 96, 96, 192, 192, 192],
            "final_logit_softcapping": 3.0,
        },
        ("blk.0.attn_v.weight", "blk.1.attn_v.weight"),
        {
            "rope_freqs.weight": np.array([1.0] * 4 + [1e30] * 12),
            **{f"blk.{i}.layer_output_scale.weight": np.array([0.5 + i / 16]) for i in range(5)},
        },
        harmless=("rope.dimension_count",),
    ),
    "gemma4@experts": Tiny(
        {
            **WINDOW,
            "attention.sliding_window_pattern": np.array([True, False]),
            "attention.head_count_kv": [2, 1],
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.key_length_swa": 16,
            "attention.value_length_swa": 16,
            "rope.dimension_count_swa": 16,
            "expert_count": 6,
            "expert_used_count": 2,
            "expert_feed_forward_length": 32,
            "embedding_length_per_layer_input": 0,
            "final_logit_softcapping": 3.0,
        },
        (
            *("blk.0.attn_v.weight", "blk.*.ffn_gate_inp.weight", "blk.*.ffn_down_exps.scale"),
            "blk.*.ffn_gate_up_exps.weight",
        ),
        {"rope_freqs.weight": np.array([1.0] * 4 + [1e30] * 12)},
        harmless=("rope.dimension_count_swa", "embedding_length_per_layer_input"),
    ),
    "phi3": Tiny({}, ("blk.*.attn_qkv.weight", *OUTPUT)),
    "phi3@long": Tiny(
        {"rope.scaling.original_context_length": 32, "rope.scaling.attn_factor": 1.2},
        ("blk.*.attn_qkv.weight",),
        LONGROPE,
        harmless=("rope_factors_short.weight",),
    ),
    "phi3@short": Tiny(
        {"rope.dimension_count": 16, "rope.scaling.attn_factor": 1.2},
        ("blk.*.attn_qkv.weight",),
        LONGROPE,
        harmless=("rope_factors_long.weight", "rope.dimension_count"),
    ),
    "mistral3": Tiny(
        {
            **WIDE,
            **YARN,
            "rope.scaling.yarn_beta_fast": 0.8,
            "rope.scaling.yarn_beta_slow": 0.1,
            "rope.scaling.yarn_log_multiplier": 0.5,
            "rope.scaling.original_context_length": 16,
            "attention.temperature_scale": 0.3,
        }
    ),
    "glm4": Tiny({**WIDE, "rope.dimension_count": 16}, (*QKV_BIASES, *OUTPUT)),
    "glm4@mrope": Tiny({**WIDE, "rope.dimension_sections": [4, 2, 2, 0]}),
    "smollm3": Tiny({"block_count": 4}),
    "granite": Tiny(
        {
            "embedding_scale": 3.0,
            "residual_scale": 0.4,
            "attention.scale": 0.3,
            "logit_scale": 2.5,
        }
    ),
    "granite@nope": Tiny(
        {"logit_scale": 2.5, "rope.scaling.finetuned": False, "rope.freq_base": None}
    ),
    "command-r": Tiny({**LAYER_NORM, "logit_scale": 0.25}),
    "command-r@norms": Tiny(
        {**LAYER_NORM, "logit_scale": 0.25},
        ("blk.*.attn_q_norm.weight", "blk.*.attn_k_norm.weight"),
    ),
    "cohere2": Tiny({**LAYER_NORM, **WINDOW, "logit_scale": 0.25, "block_count": 4}),
    "cohere2@pattern": Tiny(
        {
            **LAYER_NORM,
            **WINDOW,
            "logit_scale": 0.25,
            "block_count": 3,
            "attention.sliding_window_pattern": 2,
        }
    ),
    "olmo": Tiny({**LAYER_NORM, "attention.clamp_kqv": 1.5}, OUTPUT),
    "olmo2": Tiny({}, OUTPUT),
    "olmo2@windows": Tiny({**WINDOW, **YARN, "block_count": 4}, OUTPUT),
    "olmo2@pattern": Tiny(
        {**WINDOW, "attention.sliding_window_pattern": np.array([False, True])}, OUTPUT
    ),
    "exaone4": Tiny({}, OUTPUT, {"rope_freqs.weight": llama3_factors(16, 500.0, 64)}),
    "exaone4@64": Tiny({**WINDOW, "block_count": 64}),
    "seed_oss": Tiny(WIDE, (*QKV_BIASES, *OUTPUT)),
    "ernie4_5": Tiny(WIDE),
    "hunyuan-dense": Tiny(WIDE),
    "hunyuan-dense@alpha": Tiny({**WIDE, "rope.scaling.alpha": 20.0}),
    "qwen2vl": Tiny(
        {"rope.dimension_sections": [4, 2, 2, 0]}, harmless=("rope.dimension_sections",)
    ),
    "qwen3vl": Tiny(
        {**WIDE, "rope.dimension_sections": [6, 5, 5, 0]}, harmless=("rope.dimension_sections",)
    ),
    "qwen3vl@sections": Tiny(  # two pairs are behind the last, and llama.cpp does not turn them
        {**WIDE, "rope.dimension_sections": [8, 4, 4, 0]}, harmless=("rope.dimension_sections",)
    ),
    **MIXTURES,
    **OLDER,
    **RWKV,
    **ENCODERS,
    **ENCODERS_WITH_DECODERS,
    **DELTAS,
    **MAMBAS,
}


def arch_of(name: str) -> str:
    """The architecture of an entry."""
    return name.split("@")[0]


def metadata_of(name: str) -> dict[str, object]:
    """The metadata of a model, without a vocabulary."""
    arch = arch_of(name)
    keys = {**KEYS, **MODELS[name].keys}
    found = {full_key(arch, key): value for key, value in keys.items() if value is not None}
    return {"general.architecture": arch, "tokenizer.ggml.model": "no_vocab"} | found


def tensors_of(name: str) -> dict[str, QTensor]:
    """All tensors of a model: those given, and random ones for what else its graph reads."""
    metadata, tiny = metadata_of(name), MODELS[name]
    present = {key: tensor(key, value) for key, value in tiny.given.items()}
    present["token_embd.weight"] = tensor("token_embd.weight", np.zeros((N_VOCAB, DIM)))
    n_layers = metadata[f"{arch_of(name)}.block_count"]
    for key in tiny.optional:
        for i in range(n_layers if "*" in key else 1):
            stem = key.replace("*", str(i), 1)
            for full in expand(stem):
                present[full] = tensor(full, np.zeros(1))
    source = Source(arch_of(name), metadata, present, name)
    graph = architecture(arch_of(name))(source).build()
    made = {key: random_tensor(name, key, shape) for key, shape in sorted(graph.weights.items())}
    assert present.keys() <= made.keys() | tiny.given.keys(), "an optional tensor is not read"
    for key, made_one in made.items():
        if place(key)[1] in tiny.columns:
            made[key] = replace(made_one, shape=(*made_one.shape, 1))
        elif place(key)[1] in tiny.spread:
            made[key] = replace(made_one, shape=(1, made_one.shape[0], 1, made_one.shape[1]))
    return made | {key: present[key] for key in tiny.given}


def expand(name: str) -> Iterator[str]:
    """`ffn_*` stands for gate, up and down."""
    if "*" not in name:
        yield name
    else:
        yield from (name.replace("*", part) for part in ("gate", "up", "down"))


def random_tensor(model: str, name: str, shape: tuple[int, ...]) -> QTensor:
    """Values that matter: matrices about keep the size of rows, norms are far from 1."""
    rng = np.random.PCG64(zlib.crc32(f"{model} {name}".encode()))
    values = uniform(rng, int(np.prod(shape))).reshape(shape)
    stem = name.removesuffix(".weight")
    if name.endswith(".scale") or (len(shape) == 1 and stem.endswith("norm")):
        return tensor(name, 1.0 + 0.4 * values)
    if stem.endswith("ssm_a"):  # states decay
        return tensor(name, -np.exp(0.5 * values))
    if len(shape) == 1 or name.endswith(".bias"):
        return tensor(name, 0.5 * values)
    if stem.endswith("embd"):
        return tensor(name, values)
    return tensor(name, 1.5 * values / shape[-1] ** 0.5)


def tensor(name: str, values: NDArray[np.floating]) -> QTensor:
    """F32."""
    raw = np.ascontiguousarray(values, np.float32).view(np.uint8).ravel()
    return QTensor(name, F32, values.shape, raw)


def write_tiny(name: str, path: Path) -> None:
    """The model as a file."""
    tensors = [(t.name, t.qtype, tuple(t.shape), t.source) for t in tensors_of(name).values()]
    write_gguf(path, metadata_of(name), tensors)

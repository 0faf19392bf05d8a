"""Mixtures of experts and latent attention: what a file may say of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from kernels import nmse
from steps import logits_of
from tiny_models import arch_of, metadata_of, tensor, tensors_of
from tiny_parts import TOKENS

from qrt.arch import build_graph
from qrt.arch.architectures.deepseek2 import GLM_N_VOCAB, Architecture
from qrt.arch.source import Source
from qrt.backends import cpu, reference
from qrt.errors import ArchError
from qrt.graph.ops.route import Route
from qrt.graph.state import KV


def changed(name: str, changes: dict[str, object]) -> dict[str, object]:
    """A tiny model's metadata with keys changed; None takes a key away."""
    metadata = metadata_of(name) | {f"{arch_of(name)}.{k}": v for k, v in changes.items()}
    return {key: value for key, value in metadata.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("qwen3moe", {"expert_count": 0}, "expert_count': expected the number of experts, got 0"),
        ("qwen3moe", {"expert_count": None}, "expert_count': expected the number of experts"),
        ("qwen3moe", {"expert_used_count": 9}, "at most the number of experts, 8, got 9"),
        ("qwen3moe", {"expert_used_count": [3, 0]}, "at least 1 for layer 1, which has experts"),
        ("qwen3moe", {"expert_used_count": [3]}, "or one for each of 2 layers, got (3,)"),
        ("minimax-m2", {"expert_gating_func": None}, "a number from 1 to 4, got 0"),
        ("minimax-m2", {"expert_gating_func": 5}, "a whole number from 0 to 4, got 5"),
        ("dots1", {"expert_group_count": 3}, "a divisor of the 8 experts"),
        ("dots1", {"expert_group_count": 8}, "a divisor of the 8 experts"),
        ("dots1", {"expert_group_used_count": 5}, "from 2, which hold 3 experts, to 4, got 5"),
        ("dots1", {"expert_group_used_count": 1}, "from 2, which hold 3 experts, to 4, got 1"),
        ("phimoe", {"router_jitter_noise": 0.6}, "a number from 0 to 0.5, got 0.6"),
        ("phimoe", {"router_jitter_noise": -0.1}, "a number from 0 to 0.5, got -0.1"),
        ("phimoe", {"router_jitter_noise": math.nan}, "a number from 0 to 0.5, got nan"),
        ("phimoe", {"router_jitter_noise": 1}, "a number from 0 to 0.5, got 1"),
        ("deepseek2", {"attention.head_count_kv": 2}, "expected 1 for latent attention, got 2"),
        ("deepseek2", {"attention.key_length": 48}, "expected 40 for latent attention, got 48"),
        ("deepseek2", {"attention.value_length": 40}, "expected 32 for latent attention, got 40"),
        ("deepseek2", {"attention.key_length_mla": 8}, "more than the 8 values that rope turns"),
    ],
)
def test_relations_are_explained(name: str, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ArchError) as error:
        build_graph(changed(name, changes), tensors_of(name), "m.gguf")
    assert expected in str(error.value)
    assert str(error.value).startswith("m.gguf: ")


def test_sparsemixer_has_no_bias() -> None:
    """A bias of the choice is a tensor that nothing reads."""
    tensors = tensors_of("phimoe@sparsemixer")
    bias = {"blk.0.exp_probs_b.bias": tensor("blk.0.exp_probs_b.bias", np.ones(8))}
    with pytest.raises(ArchError, match=r"no use for tensor 'blk\.0\.exp_probs_b\.bias'"):
        build_graph(metadata_of("phimoe@sparsemixer"), tensors | bias, "m.gguf")


def test_layers_may_choose_different_numbers_of_experts() -> None:
    """Of a dense layer nothing is heeded."""
    tensors = tensors_of("dots1")
    graph = build_graph(changed("dots1", {"expert_used_count": [0, 4, 2]}), tensors, "m.gguf")
    assert [op.n_used for op in graph.ops if isinstance(op, Route)] == [4, 2]
    got = [
        logits_of(backend, (graph, tensors), TOKENS, kv_type="f32") for backend in (reference, cpu)
    ]
    assert nmse(got[1], got[0]) < 1e-9
    for chunk in (1, 7):
        again = logits_of(cpu, (graph, tensors), TOKENS, chunk, kv_type="f32")
        assert again.tobytes() == got[1].tobytes()


def test_a_position_of_latent_attention_is_one_compressed_vector() -> None:
    graph = build_graph(metadata_of("deepseek2"), tensors_of("deepseek2"), "m.gguf")
    assert graph.states == (KV((0, 1, 2), 40, 32, 1, v_in_k=True),)


@pytest.mark.parametrize(
    ("n_vocab", "n_blocks", "number", "gating"),
    [
        (GLM_N_VOCAB, 47, None, "sigmoid"),
        (GLM_N_VOCAB, 47, 1, "softmax"),
        (GLM_N_VOCAB, 46, None, "softmax"),
        (64, 47, None, "softmax"),
    ],
)
def test_old_files_of_glm_gate_by_sigmoid(
    n_vocab: int, n_blocks: int, number: int | None, gating: str
) -> None:
    changes = {"vocab_size": n_vocab, "block_count": n_blocks, "expert_gating_func": number}
    embedding = tensors_of("deepseek2")["token_embd.weight"]
    tensors = {embedding.name: replace(embedding, shape=(n_vocab, 64))}
    graph = Architecture(Source("deepseek2", changed("deepseek2", changes), tensors, "m")).build()
    assert {op.gating for op in graph.ops if isinstance(op, Route)} == {gating}

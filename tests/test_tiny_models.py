"""Every architecture on tiny random models: logits of others, and nothing of a file passed over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import nmse
from oracles import TESTS
from steps import Logits, Model, logits_of
from tiny_models import MODELS, arch_of, metadata_of, tensor, tensors_of
from tiny_parts import N_CTX, TOKENS

from qrt.arch import architecture_names, build_graph
from qrt.arch.source import COUNTS, REALS, full_key, place
from qrt.backends import cpu, reference
from qrt.errors import ArchError
from qrt.formats.qtensor import QTensor

OF_NO_ARCHITECTURE = ("xielu.", "tokenizer.ggml.token_type")
"""How other keys begin that graphs depend on."""
MANY_BLOCKS = 6
"""More are alike."""
ONE_OF_EACH_KIND = (
    *("gemma3n", "gemma4", "gemma4@experts", "gpt-oss", "deepseek2", "llama4", "mistral3"),
    *("bloom", "gpt2", "olmo2@windows", "phi3@long", "apertus", "t5"),
    *("qwen35", "qwen35@layers", "lfm2", "kimi-linear"),
    *("jamba", "granitehybrid@experts", "falcon-h1", "nemotron_h_moe@latent"),
)


def build(metadata: Mapping[str, object], tensors: Mapping[str, QTensor]) -> Model:
    return build_graph(metadata, tensors, "tiny", N_CTX), tensors


def logits(model: Model, backend: ModuleType = reference, chunk: int = 99) -> Logits:
    return logits_of(backend, model, TOKENS, chunk, kv_type="f32", n_ctx=N_CTX)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_others(name: str) -> None:
    model = build(metadata_of(name), tensors_of(name))
    expected = np.load(TESTS / "data/tiny" / f"{name}.npz")["logits"]
    got = logits(model)
    assert nmse(got, expected) < 1e-6
    assert nmse(logits(model, cpu), got) < 1e-6


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_the_bits_do_not_depend_on_chunks(name: str) -> None:
    model = build(metadata_of(name), tensors_of(name))
    whole = logits(model, cpu)
    for chunk in (1, 7):
        np.testing.assert_array_equal(logits(model, cpu, chunk), whole)


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_and_every_key_matters(name: str) -> None:
    metadata, tensors = metadata_of(name), tensors_of(name)
    whole, expected = build(metadata, tensors)[0], logits(build(metadata, tensors))
    prefix = f"{arch_of(name)}."
    some = [name for name in tensors if (place(name)[0] or 0) < MANY_BLOCKS]
    for gone in [
        *some,
        *(key for key in metadata if key.startswith((prefix, *OF_NO_ARCHITECTURE))),
    ]:
        harmless = gone.removeprefix(prefix) in MODELS[name].harmless
        try:
            model = build(
                {key: value for key, value in metadata.items() if key != gone},
                {key: value for key, value in tensors.items() if key != gone},
            )
        except ArchError:
            continue
        if harmless:
            assert model[0].ops == whole.ops, gone
        else:
            assert nmse(logits(model), expected) > 1e-6, gone


@pytest.mark.parametrize("name", ["gemma3n@25", "gemma4", "qwen2moe"])
def test_queries_keys_and_values_may_be_one_matrix(name: str) -> None:
    """Also in layers that make queries alone; biases are one then, too."""
    metadata, tensors = metadata_of(name), tensors_of(name)
    expected, joined = logits(build(metadata, tensors)), dict(tensors)
    for i in range(metadata[f"{arch_of(name)}.block_count"]):
        for kind in ("weight", "bias"):
            parts = [f"blk.{i}.attn_{part}.{kind}" for part in "qkv"]
            if tensors.keys() >= set(parts):
                whole = np.concatenate([joined.pop(part).dequantize() for part in parts])
                joined[f"blk.{i}.attn_qkv.{kind}"] = tensor(f"blk.{i}.attn_qkv.{kind}", whole)
    assert joined != tensors
    assert nmse(logits(build(metadata, joined)), expected) < 1e-12


@pytest.mark.parametrize("name", ["qwen2moe", "deepseek2@head"])
@pytest.mark.parametrize("backend", [reference, cpu])
def test_dimensions_of_one_in_front_may_be_left_out(name: str, backend: ModuleType) -> None:
    metadata, whole = metadata_of(name), tensors_of(name)
    short = {
        key: replace(tensor, shape=tensor.shape[1:]) if tensor.shape[0] == 1 else tensor
        for key, tensor in whole.items()
    }
    assert short != whole
    expected = logits(build(metadata, whole), backend)
    assert logits(build(metadata, short), backend).tobytes() == expected.tobytes()


def test_every_architecture_has_a_tiny_model() -> None:
    assert {arch_of(name) for name in MODELS} == set(architecture_names())


def test_a_state_sees_nothing_ahead() -> None:
    metadata = metadata_of("lfm2") | {"lfm2.attention.causal": False}
    with pytest.raises(ArchError, match=r"'lfm2\.attention\.causal': expected true, "):
        build(metadata, shared_tensors("lfm2"))


NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 8, 16, 32, 64, 1 << 40, 0.0, 0.5, 1.0, 1e30, True, "x", None]),
    st.lists(st.integers(0, 4), max_size=6),
)


@settings(max_examples=400)
@given(
    name=st.sampled_from(sorted(MODELS)),
    changes=st.dictionaries(st.sampled_from([*COUNTS, *REALS]), NUMBERS, min_size=1, max_size=3),
)
def test_any_metadata_gives_a_graph_or_an_arch_error(name: str, changes: dict[str, object]) -> None:
    hostile = {full_key(arch_of(name), key): value for key, value in changes.items()}
    metadata = {key: v for key, v in (metadata_of(name) | hostile).items() if v is not None}
    with suppress(ArchError):
        build(metadata, shared_tensors(name))


@cache
def shared_tensors(name: str) -> dict[str, QTensor]:
    return tensors_of(name)


@pytest.mark.parametrize(
    ("n_shared", "windows"), [(4, "110110"), (6, "111111"), (9, "111111"), (3, "110011")]
)
def test_keys_and_values_are_shared_with_a_layer_of_the_same_kind(
    n_shared: int, windows: str
) -> None:
    changes = {
        "gemma4.attention.shared_kv_layers": n_shared,
        "gemma4.attention.sliding_window_pattern": np.array([w == "1" for w in windows]),
        "gemma4.attention.head_count_kv": [2, 2, 1, 2, 2, 1],
    }
    with pytest.raises(ArchError, match=r"attention\.shared_kv_layers': expected a number that"):
        build(metadata_of("gemma4") | changes, shared_tensors("gemma4"))

"""Architectures: the gate between a file and the kernels, and the rotary frequencies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import data_folder
from tiny_models import metadata_of, tensors_of

from qrt.arch import architecture_names, build_graph
from qrt.arch.rope import read_rope
from qrt.arch.source import COUNTS, REALS, Source
from qrt.errors import ArchError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.graph import Graph
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.state import KV

MODELS = ("llama", "qwen2", "qwen3")
OPTIONAL_TENSORS = {"output.weight", "output.bias", "rope_freqs.weight", "cls.output.weight"}
OPTIONAL_KEYS = {
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "expert_count",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size",
}
HOSTILE = (
    *(None, True, "x", "", [1], 0, 1, 3, 7, -1, 127, 1 << 31, 1 << 62),
    *(0.0, -1.0, 1e-30, 1e300, math.nan, math.inf),
)


@cache
def load(name: str) -> tuple[dict[str, object], dict[str, QTensor]]:
    file = open_gguf(data_folder() / "arch" / f"{name}-dense.gguf")
    return dict(file.metadata), dict(file.tensors)


def build(name: str, **changes: object) -> Graph:
    """The model's graph with metadata changed (`a__b` for `a.b`; None removes the key)."""
    metadata, tensors = load(name)
    changed = metadata | {f"{name}.{k.replace('__', '.')}": v for k, v in changes.items()}
    return build_graph({k: v for k, v in changed.items() if v is not None}, tensors, "m.gguf")


def attempt(name: str, changes: dict[str, object]) -> Graph | None:
    """The graph, or None where a well-formed ArchError refused it."""
    try:
        return build(name, **{key.replace(".", "__"): value for key, value in changes.items()})
    except ArchError as refusal:
        check_message(str(refusal))
        return None


def rope_of(graph: Graph) -> RopeSpec:
    return next(op.spec for op in graph.ops if isinstance(op, Rope))


def message(error: pytest.ExceptionInfo[ArchError]) -> str:
    return check_message(str(error.value))


def check_message(text: str) -> str:
    assert text.startswith("m.gguf: ")
    assert "\n" not in text
    assert len(text) < 300
    return text


def test_a_block_reads_in_order() -> None:
    graph = build("qwen3")
    names = [op.out or op.label for op in graph.ops]
    assert names[0] == "token_embd"
    assert names[1:19] == [
        f"blk.0.{name}"
        for name in (
            *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm"),
            *("attn_q_rope", "attn_k_rope", "attn_kv", "attn", "attn_output", "attn_add"),
            *("ffn_norm", "ffn_gate", "ffn_up", "ffn_glu", "ffn_down", "ffn_add"),
        )
    ]
    assert names[-4:] == ["blk.1.ffn_add", "selected", "output_norm", "output"]
    assert [names[start] for start in graph.starts] == ["blk.0.attn_norm", "blk.1.attn_norm"]
    assert graph.states == (KV((0, 1), 64, 64, 1),)


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_needed(name: str) -> None:
    metadata, tensors = load(name)
    whole = build(name)
    for gone in tensors:
        rest = {key: tensor for key, tensor in tensors.items() if key != gone}
        if gone in OPTIONAL_TENSORS:
            assert build_graph(metadata, rest, "m.gguf") != whole, gone
            continue
        with pytest.raises(ArchError) as error:
            build_graph(metadata, rest, "m.gguf")
        assert repr(gone) in message(error)


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_has_one_shape(name: str) -> None:
    metadata, tensors = load(name)
    for key in tensors.keys() - build(name).unused | tensors.keys() & {"rope_freqs.weight"}:
        shape = tensors[key].shape
        for wrong in ((), (*shape, 2), (shape[0] + 1, *shape[1:]), (*shape[:-1], shape[-1] - 1)):
            changed = tensors | {key: replace(tensors[key], shape=wrong)}
            with pytest.raises(ArchError) as error:
                build_graph(metadata, changed, "m.gguf")
            assert repr(key) in message(error)


def test_weights_are_in_a_fit_format() -> None:
    metadata, tensors = load("llama")
    for key, qtype in (("output_norm.weight", "Q8_0"), ("blk.0.attn_q.weight", "I32")):
        changed = tensors | {key: replace(tensors[key], qtype=QTYPES[qtype])}
        with pytest.raises(ArchError) as error:
            build_graph(metadata, changed, "m.gguf")
        assert repr(key) in message(error)
        assert qtype in message(error)


@pytest.mark.parametrize(
    "extra", ["blk.0.new.weight", "blk.2.attn_q.weight", "a\nb", "output.bias"]
)
def test_an_unused_tensor_is_named(extra: str) -> None:
    metadata, tensors = load("llama")
    changed = tensors | {extra: tensors["output_norm.weight"]}
    with pytest.raises(ArchError) as error:
        build_graph(metadata, changed, "m.gguf")
    assert repr(extra) in message(error)


@pytest.mark.parametrize(
    "arch", [None, 3, "", "mamba9", "Llama", "../llama", "x" * 100_000, np.arange(99)]
)
def test_an_unknown_architecture_is_named(arch: object) -> None:
    metadata, tensors = load("llama")
    with pytest.raises(ArchError) as error:
        build_graph(metadata | {"general.architecture": arch}, tensors, "m.gguf")
    assert f"expected one of the {len(architecture_names())} that qrt knows" in message(error)
    assert ("llama" in message(error)) >= (isinstance(arch, str) and arch in ("Llama", "../llama"))


@pytest.mark.parametrize("name", MODELS)
def test_hostile_hyperparameters_are_refused_or_matter(name: str) -> None:
    metadata, _ = load(name)
    whole = build(name)
    for key in (*COUNTS, *REALS):
        for value in HOSTILE:
            before = metadata.get(f"{name}.{key}")
            same = value == before and type(value) is type(before)
            graph = attempt(name, {key: value})
            if same:
                assert graph == whole, (key, value)
            elif graph == whole:
                harmless = key in OPTIONAL_KEYS if value is None else before is None
                assert harmless or key == "vocab_size", (key, value)  # the tokens are counted


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    changes=st.dictionaries(
        st.sampled_from(["rope.scaling.type", *COUNTS, *REALS]),
        st.one_of(
            st.integers(-2, 300),
            st.integers(),
            st.floats(),
            st.floats(0, 100),
            st.booleans(),
            st.sampled_from(["yarn", "linear", "none", "longrope"]),
            st.text(),
        ),
        min_size=1,
        max_size=4,
    ),
    name=st.sampled_from(MODELS),
)
def test_any_metadata_gives_a_graph_or_an_arch_error(changes: dict[str, object], name: str) -> None:
    graph = attempt(name, changes)
    if graph is not None:
        assert all(map(math.isfinite, (rope_of(graph).mscale, *rope_of(graph).inv_freq)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"attention__head_count_kv": 3}, "llama.attention.head_count_kv"),
        ({"attention__value_length": 64}, "'blk.0.attn_v.weight': expected shape (128, 256)"),
        ({"nextn_predict_layers": 2}, "fewer than the 2 layers, got 2"),
        ({"rope__dimension_count": 127}, "an even number up to the head size, 128, got 127"),
        ({"rope__dimension_count": 130}, "an even number up to the head size, 128, got 130"),
        ({"rope__scaling__type": "longrope"}, "one of none, linear, yarn, got 'longrope'"),
        ({"expert_count": 4}, "'llama.expert_used_count': expected a whole number from 0"),
        ({"expert_count": 4, "expert_used_count": 5}, "at most the number of experts, 4, got 5"),
        ({"block_count": 3}, "tensor 'blk.2.attn_norm.weight' is missing"),
        ({"block_count": 1}, "no use for tensor 'blk.1.attn_k.bias'"),
        ({"context_length": None}, "'llama.context_length': expected a whole number from 1"),
    ],
)
def test_relations_are_explained(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ArchError) as error:
        build("llama", **changes)
    assert expected in message(error)


def test_an_architecture_without_experts_says_so() -> None:
    with pytest.raises(ArchError) as error:
        build("qwen2", expert_count=4)
    assert "models with experts are not supported, got 4" in message(error)


def test_the_vocabulary_has_a_row_per_token() -> None:
    metadata, tensors = load("llama")
    for tokens in (["a"] * 127, "a" * 128, 128):
        with pytest.raises(ArchError) as error:
            build_graph(metadata | {"tokenizer.ggml.tokens": tokens}, tensors, "m.gguf")
        assert "tokens" in message(error)
    bare = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    assert build_graph(bare, tensors, "m.gguf").n_vocab == 128
    with pytest.raises(ArchError):
        build_graph(bare | {"llama.vocab_size": 127}, tensors, "m.gguf")


def test_a_file_without_output_weight_is_tied() -> None:
    metadata, tensors = load("qwen2")
    rest = {name: tensor for name, tensor in tensors.items() if name != "output.weight"}
    graph = build_graph(metadata, rest, "m.gguf")
    assert graph.ops[-1].weight == "token_embd.weight"
    assert graph.ops[-1].bias == "output.bias"


def yarn_by_hand(
    theta: float, factor: float, n_ctx: int, fast: float, slow: float, mix: float
) -> Iterator[float]:
    """YaRN, section 3.2 of the paper, pair by pair for heads of 128."""
    border = {turns: 64 * math.log(n_ctx / (turns * 2 * math.pi), theta) for turns in (fast, slow)}
    low, high = max(math.floor(border[fast]), 0), min(math.ceil(border[slow]), 127)
    for pair in range(64):
        plain = 1 / theta ** (pair / 64)
        share = mix * (1 - min(1, max(0, (pair - low) / (high - low))))
        yield share * plain + (1 - share) * plain / factor


def test_yarn_frequencies() -> None:
    spec = rope_of(
        build(
            "qwen2",
            rope__freq_base=1e6,
            rope__scaling__type="yarn",
            rope__scaling__factor=4.0,
            rope__scaling__original_context_length=32768,
        )
    )
    np.testing.assert_allclose(
        spec.inv_freq, list(yarn_by_hand(1e6, 4.0, 32768, 32, 1, 1.0)), rtol=1e-12
    )
    assert spec.mscale == pytest.approx(0.1 * math.log(4) + 1)
    assert spec.style == "neox"


YARN = {
    "rope__scaling__type": "yarn",
    "rope__scaling__factor": 8.0,
    "rope__scaling__original_context_length": 200,
    "rope__scaling__attn_factor": 1.2,
}
YARN_KEYS = {"ext_factor": 0.5, "beta_fast": 4.0, "beta_slow": 0.5, "log_multiplier": 0.7}


def test_yarn_keys() -> None:
    metadata, tensors = load("qwen2")
    changed = {f"qwen2.{key.replace('__', '.')}": value for key, value in YARN.items()}
    changed |= {f"qwen2.rope.scaling.yarn_{key}": value for key, value in YARN_KEYS.items()}
    source = Source("qwen2", metadata | changed, tensors, "file")
    spec = read_rope(source, "neox", 128, 4096, yarn_keys=YARN_KEYS)
    np.testing.assert_allclose(
        spec.inv_freq, list(yarn_by_hand(1e4, 8.0, 200, 4, 0.5, 0.5)), rtol=1e-12
    )
    stretch = 0.1 * math.log(8)
    assert spec.mscale == pytest.approx(1.2 * (stretch + 1) / (0.7 * stretch + 1))


@pytest.mark.parametrize("name", MODELS)
def test_architectures_pass_over_the_yarn_keys_of_others(name: str) -> None:
    others = {f"rope__scaling__yarn_{key}": value for key, value in YARN_KEYS.items()}
    others["rope__scaling__yarn_attn_factor"] = 3.0
    assert rope_of(build(name, **YARN, **others)) == rope_of(build(name, **YARN))


@pytest.mark.parametrize(
    ("changes", "divisor"),
    [
        ({"rope__scaling__factor": 4.0}, 4),
        ({"rope__scale_linear": 2.0}, 2),
        ({"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, 4),
        ({"rope__scaling__type": "none", "rope__scaling__factor": 4.0}, 1),
    ],
)
def test_linear_frequencies(changes: dict[str, object], divisor: int) -> None:
    spec = rope_of(build("qwen2", **changes))
    expected = [10000 ** (-i / 64) / divisor for i in range(64)]
    np.testing.assert_allclose(spec.inv_freq, expected, rtol=1e-12)
    assert spec.mscale == 1.0


def test_llama3_frequencies_are_divided_by_the_tensor() -> None:
    _, tensors = load("llama")
    factors = tensors["rope_freqs.weight"].dequantize().tolist()
    spec = rope_of(build("llama"))
    expected = [500000 ** (-i / 64) / factors[i] for i in range(64)]
    np.testing.assert_allclose(
        rope_of(build("llama", rope__freq_base=500000.0)).inv_freq, expected, rtol=1e-12
    )
    assert spec.style == "norm"
    assert build("llama").unused == {"rope_freqs.weight"}


def test_partial_rope_spans_its_own_dimensions() -> None:
    spec = rope_of(build("qwen2", rope__dimension_count=32))
    np.testing.assert_allclose(spec.inv_freq, [10000 ** (-i / 16) for i in range(16)], rtol=1e-12)
    assert spec.dim == 32


@pytest.mark.parametrize("bad", [0.0, -1e-7, math.nan, math.inf])
def test_bad_frequency_factors_are_refused(bad: float) -> None:
    metadata, tensors = load("llama")
    tensor = tensors["rope_freqs.weight"]
    values = np.ones(64, np.float32)
    values[5] = bad
    changed = tensors | {tensor.name: replace(tensor, source=values.view(np.uint8))}
    with pytest.raises(ArchError) as error:
        build_graph(metadata, changed, "m.gguf")
    assert repr(tensor.name) in message(error)


@pytest.mark.parametrize(("n_ctx", "which"), [(32, "short"), (33, "long"), (None, "long")])
def test_longrope_divides_by_the_length_of_the_context(n_ctx: int | None, which: str) -> None:
    tensors = tensors_of("phi3@long")
    spec = rope_of(build_graph(metadata_of("phi3@long"), tensors, "m.gguf", n_ctx))
    factors = tensors[f"rope_factors_{which}.weight"].dequantize().tolist()
    expected = [500.0 ** (-i / 8) / factors[i] for i in range(8)]
    np.testing.assert_allclose(spec.inv_freq, expected, rtol=1e-12)
    assert spec.mscale == 1.2

"""Graphs of hidden states: texts packed in one step, types of tokens, pooling and heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from kernels import nmse
from oracles import TESTS
from steps import Logits, Model, logits_of, prepare, segment
from test_ops_on_cpu import quantized
from tiny_encoders import ENCODERS
from tiny_models import metadata_of, tensor, tensors_of, write_tiny
from tiny_parts import DIM, N_CTX, N_VOCAB, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.backends.base import Executor
from qrt.errors import ArchError, BackendError, InputError
from qrt.graph.batch import Batch, Segment
from qrt.graph.cut import cut
from qrt.graph.graph import Graph
from qrt.graph.heads import Head, Ranking
from qrt.progress import no_progress
from qrt.tools.bench import BenchOptions, bench
from qrt.tools.chunks import QualityOptions
from qrt.tools.perplexity import perplexity
from qrt.tools.profile import ProfileOptions, profile

BERT_TYPES = np.array([0] * 20 + [1] * 20, np.int32)


def model_of(name: str, embedding: bool | None = None, **changes: object) -> Model:
    metadata = metadata_of(name) | changes
    tensors = tensors_of(name)
    return build_graph(metadata, tensors, "tiny", N_CTX, embedding=embedding), tensors


def text(tokens: np.ndarray, types: np.ndarray | None = None, start: int = 0) -> Segment:
    return replace(segment(tokens, start), tables=(), types=types)


def hidden(model: Executor, *texts: Segment) -> Logits:
    return model.step(Batch(texts)).copy()


def cosines(a: Logits, b: Logits) -> np.ndarray:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1)


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("qwen3")])
def test_texts_of_a_step_do_not_see_each_other(name: str) -> None:
    graph, tensors = model_of(name)
    assert graph.whole_texts
    assert graph.states == ()
    model = prepare(cpu, (graph, tensors), capacities=(), n_ctx=N_CTX)
    texts = [text(TOKENS), text(TOKENS[:1]), text(TOKENS[7:20]), text(TOKENS[::-1])]
    together = hidden(model, *texts)
    assert together.shape == (94, DIM)
    assert together.tobytes() == b"".join(hidden(model, one).tobytes() for one in texts)
    model.close()


@pytest.mark.parametrize("name", ENCODERS)
def test_eight_bits_point_the_same_way(name: str) -> None:
    graph, tensors = model_of(name)
    expected = np.load(TESTS / "data/tiny" / f"{name}.npz")["logits"]
    options = {"kv_type": "f32", "n_ctx": N_CTX}
    assert cosines(logits_of(cpu, (graph, tensors), TOKENS, **options), expected).min() > 0.99999
    got = logits_of(cpu, (graph, quantized(tensors)), TOKENS, **options)
    pooled, wanted = got.mean(axis=0, keepdims=True), expected.mean(axis=0, keepdims=True)
    assert cosines(pooled, wanted)[0] > 0.999


@pytest.mark.parametrize("backend", [reference, cpu])
def test_types_of_tokens(backend: ModuleType) -> None:
    graph, tensors = model_of("bert")
    assert graph.n_types == 2
    model = prepare(backend, (graph, tensors), capacities=(), n_ctx=N_CTX)
    plain = hidden(model, text(TOKENS))
    zeros = hidden(model, text(TOKENS, np.zeros(40, np.int32)))
    both = hidden(model, text(TOKENS), text(TOKENS, BERT_TYPES))
    assert zeros.tobytes() == plain.tobytes() == both[:40].tobytes()
    moved = tensors["token_types.weight"].dequantize()
    swapped = {**tensors, "token_types.weight": tensor("token_types.weight", moved[::-1])}
    other = prepare(backend, (graph, swapped), capacities=(), n_ctx=N_CTX)
    again = hidden(other, text(TOKENS, 1 - BERT_TYPES))
    assert nmse(again, both[40:]) < 1e-9 < nmse(again, plain)
    for wrong in (BERT_TYPES + 1, -BERT_TYPES, BERT_TYPES[:5], BERT_TYPES.astype(np.int64)):
        with pytest.raises(InputError, match=r"types of tokens: expected 40 of int32 from 0 to 1"):
            hidden(model, text(TOKENS, wrong))
    with pytest.raises(InputError, match="begin at position 0, got 3"):
        hidden(model, text(TOKENS, start=3))
    model.close()
    other.close()


@pytest.mark.parametrize("name", ["llama", "gemma3n", "qwen2moe", "gemma2"])
def test_hidden_states_of_a_decoder_are_what_logits_are_made_of(name: str) -> None:
    whole, tensors = model_of(name)
    graph, _ = model_of(name, embedding=True)
    assert (graph.pooling, whole.pooling) == ("mean", None)
    assert graph.n_vocab == whole.n_vocab == N_VOCAB
    options = {"kv_type": "f32", "n_ctx": N_CTX}
    states = logits_of(cpu, (graph, tensors), TOKENS, 7, **options)
    assert states.shape == (40, DIM)
    output = tensors.get("output.weight", tensors["token_embd.weight"]).dequantize()
    logits = states @ output.T
    if name in ("gemma3n", "gemma2"):
        logits = 3.0 * np.tanh(logits / 3.0)
    assert nmse(logits, logits_of(cpu, (whole, tensors), TOKENS, **options)) < 1e-9


def built(name: str, heads: dict[str, tuple[int, ...]], **keys: object) -> Graph:
    """A tiny model with tensors of heads besides its own."""
    arch = name.split("@")[0]
    more = {head: tensor(head, np.ones(shape)) for head, shape in heads.items()}
    changes = {f"{arch}.{key}".replace("__", "."): value for key, value in keys.items()}
    metadata = {k: v for k, v in (metadata_of(name) | changes).items() if v is not None}
    return build_graph(metadata, tensors_of(name) | more, "m.gguf", N_CTX)


CLS = {"cls.weight": (DIM, DIM), "cls.bias": (DIM,)}
OUT = {"cls.output.weight": (1, DIM), "cls.output.bias": (1,)}
FIRST = Head("cls.weight", DIM, DIM, "cls.bias", "tanh")
LAST = Head("cls.output.weight", DIM, 1, "cls.output.bias")


def test_the_classifier_of_a_reranker() -> None:
    graph = built("bert", {**CLS, **OUT}, pooling_type=4)
    assert (graph.pooling, graph.ranking) == ("rank", Ranking("cls", (FIRST, LAST)))
    assert built("bert", {**CLS, **OUT}, pooling_type=None).pooling == "rank"
    assert built("bert", {**CLS, **OUT}).pooling == "cls"
    assert built("bert", OUT).ranking == Ranking("cls", (LAST,))
    assert built("bert", {}, pooling_type=None).pooling == "mean"
    tiny = built("jina-bert-v2", {"cls.weight": (DIM,), "cls.bias": (1,)})
    head = Head("cls.weight", DIM, 1, "cls.bias", "tanh")
    assert tiny.ranking == Ranking("cls", (head,))


def test_classifiers_of_other_kinds() -> None:
    heads = {"cls.weight": (DIM, DIM), "cls.norm.weight": (DIM,), "cls.output.weight": (1, DIM)}
    modern = built("modern-bert", heads)
    first = Head("cls.weight", DIM, DIM, None, "gelu_erf", "cls.norm.weight", 1e-5)
    last = Head("cls.output.weight", DIM, 1)
    assert (modern.pooling, modern.ranking) == ("rank", Ranking("mean", (first, last)))
    stated = built("modern-bert", heads, classifier__pooling_type=2).ranking
    assert stated is not None
    assert stated.pooling == "cls"
    labels = {"classifier__output_labels": ["yes", "no"]}
    qwen = built("qwen3", {"cls.output.weight": (2, DIM)}, pooling_type=4, **labels)
    head = Head("cls.output.weight", DIM, 2, act="softmax")
    assert qwen.ranking == Ranking("last", (head,), ("yes", "no"))
    assert qwen.output == "output_norm"


def test_dense_layers_behind_the_pooled_row() -> None:
    dense = {"dense_2.weight": (96, DIM), "dense_3.weight": (DIM, 96)}
    sizes = {"dense_2_feat_in": DIM, "dense_2_feat_out": 96}
    sizes |= {"dense_3_feat_in": 96, "dense_3_feat_out": DIM}
    graph = built("gemma-embedding", dense, **sizes)
    assert graph.dense == (Head("dense_2.weight", DIM, 96), Head("dense_3.weight", 96, DIM))
    assert not graph.dense[0].weights.keys() & graph.weights.keys()
    with pytest.raises(ArchError, match="dense_3_feat_in': expected what comes in, 96, got 95"):
        built("gemma-embedding", dense, **sizes | {"dense_3_feat_in": 95})


def test_a_width_of_embeddings_of_their_own() -> None:
    dense = {"dense_2.weight": (16, DIM), "dense_2.bias": (16,)}
    graph = built("qwen3", dense, pooling_type=1, embedding_length_out=16)
    assert graph.dense == (Head("dense_2.weight", DIM, 16, "dense_2.bias"),)


@pytest.mark.parametrize(
    ("name", "causal", "usual"), [("bert", True, "false"), ("deepseek2", False, "true")]
)
def test_who_sees_whom_is_not_for_every_file_to_say(name: str, causal: bool, usual: str) -> None:
    with pytest.raises(ArchError, match=rf"attention.causal': expected {usual}, as {name} models"):
        built(name, {}, attention__causal=causal)


@pytest.mark.parametrize(
    ("heads", "keys", "message"),
    [
        ({}, {"pooling_type": 4}, "expected a classifier, got nothing"),
        ({}, {"pooling_type": 5}, "pooling_type': expected a whole number from 0 to 4, got 5"),
        ({"cls.output.weight": (2, DIM)}, {}, r"cls.output.weight': expected shape \(1, 64\)"),
        ({"cls.weight": (DIM, 32)}, {}, r"cls.weight': expected shape \(64, 64\)"),
        ({"cls.bias": (DIM,)}, {}, "bert has no use for tensor 'cls.bias'"),
        ({"dense_2.weight": (8, DIM)}, {}, "dense_2_feat_out': expected a whole number"),
        ({}, {"classifier__output_labels": [1]}, "expected an array of strings"),
    ],
)
def test_wrong_heads_are_errors(heads: dict, keys: dict, message: str) -> None:
    with pytest.raises(ArchError, match=message):
        built("bert", heads, **keys)


def test_an_encoder_that_has_a_decoder_beside_it() -> None:
    """Where embeddings are wanted they are those of the encoder; else a decoder answers it."""
    tensors, metadata = tensors_of("t5"), metadata_of("t5")
    graph = build_graph(metadata, tensors, "m.gguf", N_CTX, embedding=True)
    assert (graph.pooling, graph.states, graph.decoder_start) == ("mean", (), None)
    alone = {key: each for key, each in tensors.items() if not key.startswith("dec.")}
    stated = metadata | {"t5.pooling_type": 1}
    assert graph.ops == build_graph(stated, alone, "m.gguf", N_CTX).ops
    more = tensors | {"dec.blk.0.cross_attn_rel_b.weight": tensor("unused", np.ones((8, 4)))}
    whole = build_graph(metadata, more, "m.gguf", N_CTX)
    assert (whole.pooling, whole.decoder_start, whole.n_ctx_train) == (None, 5, 2 * N_CTX)
    with pytest.raises(ArchError, match=r"tensor 'dec\.blk\.0\.cross_attn_k\.weight' is missing"):
        build_graph(metadata, alone, "m.gguf", N_CTX)
    with pytest.raises(ArchError, match=r"expected a token of the 64 there are, got 64"):
        build_graph(metadata | {"t5.decoder_start_token_id": 64}, tensors, "m.gguf", N_CTX)
    with pytest.raises(BackendError, match="t5 cannot be cut: its encoder and its decoder"):
        cut(whole, [1])


def test_tools_run_whole_texts(tmp_path: Path) -> None:
    write_tiny("bert", tmp_path / "bert.gguf")
    options = {"n_prompt": (20,), "n_gen": (4,), "n_depth": (0, 8), "n_threads": (1,)}
    results = list(bench(tmp_path / "bert.gguf", BenchOptions(**options), no_progress))
    assert [result.test.name for result in results] == ["pp20"]
    with pytest.raises(InputError, match="bert models take whole texts; measure n_prompt"):
        list(bench(tmp_path / "bert.gguf", BenchOptions(n_prompt=(0,)), no_progress))
    steps = profile(tmp_path / "bert.gguf", ProfileOptions(n_prompt=40), no_progress).steps
    assert [step.phase for step in steps] == ["prefill"]
    with pytest.raises(InputError, match="bert models take whole texts; profile n_prompt"):
        profile(tmp_path / "bert.gguf", ProfileOptions(n_prompt=40, n_depth=8), no_progress)


def test_a_model_without_logits_has_no_perplexity(tmp_path: Path) -> None:
    write_tiny("bert", tmp_path / "bert.gguf")
    with pytest.raises(InputError, match=r"bert.gguf: expected a language model, got one for emb"):
        perplexity(tmp_path / "bert.gguf", "text", QualityOptions(n_ctx=64), no_progress)


def test_layers_share_the_table_of_what_they_see() -> None:
    graph, tensors = model_of("modern-bert")
    model = prepare(cpu, (graph, tensors), capacities=(), n_ctx=N_CTX)
    for n_rows in (1, 2, 40):
        hidden(model, text(TOKENS[:n_rows]))
    assert len(model.recorder.kept) == 1
    model.close()

"""The reference backend: the oracles' logits, and each op against a formula written otherwise."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernels import nmse
from numpy.typing import NDArray
from steps import SETTINGS, in_chunks, open_model, prepare, segment, step

from qrt.arch.architectures.llama import Architecture
from qrt.backends import reference
from qrt.backends.base import Cancelled, Executor
from qrt.backends.reference.ops import add, run
from qrt.backends.reference.step import Array, Pages, Step
from qrt.errors import InputError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f32 import F32
from qrt.graph.batch import PAGE_LEN, Batch
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.op import Op
from qrt.graph.ops.add import Add
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.select import Select
from qrt.graph.ops.store_kv import StoreKV
from qrt.graph.state import KV

MODELS = ("llama", "qwen2", "qwen3")
SCALED = {
    "llama-yarn": {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 8.0,
        "rope.scaling.original_context_length": 200,
        "rope.scaling.yarn_beta_fast": 4.0,
        "rope.scaling.yarn_beta_slow": 0.5,
        "rope.scaling.yarn_ext_factor": 0.5,
        "rope.scaling.attn_factor": 1.2,
    },
    "qwen2-linear": {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    "qwen3-yarn": {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 64,
    },
}


def executor(
    data: Path, name: str, kv_type: str = "f32", changes: dict[str, object] | None = None
) -> Executor:
    changed = {f"{name}.{key}": value for key, value in (changes or {}).items()}
    model = open_model(data / "arch" / f"{name}-dense.gguf", changed)
    return prepare(reference, model, kv_type=kv_type)


@pytest.mark.parametrize("name", MODELS)
def test_oracle_logits(data: Path, name: str) -> None:
    oracle = np.load(data / "arch" / f"{name}-dense.npz")
    rows = segment(oracle["tokens"])
    logits = step(executor(data, name, "f16"), rows)
    assert logits.dtype == np.float32
    assert nmse(logits, oracle["logits"]) < 1e-6  # that oracle sums its attention in F16
    assert nmse(logits[:1], oracle["logits"][:1]) < 1e-7
    exact = np.load(data / "arch" / "f32-cache.npz")[name]
    assert nmse(step(executor(data, name), rows), exact) < 1e-11


@pytest.mark.parametrize("case", SCALED)
def test_scaled_rope_logits(data: Path, case: str) -> None:
    name = case.split("-")[0]
    rows = segment(np.load(data / "arch" / f"{name}-dense.npz")["tokens"])
    logits = step(executor(data, name, "f32", SCALED[case]), rows)
    assert nmse(logits, np.load(data / "arch" / "f32-cache.npz")[case]) < 1e-11


def test_an_architecture_may_heed_the_keys_of_yarn(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As llama.cpp computes it where its caller, not the file, gives these numbers."""
    monkeypatch.setattr(Architecture, "yarn_keys", ("ext_factor", "beta_fast", "beta_slow"))
    rows = segment(np.load(data / "arch" / "llama-dense.npz")["tokens"])
    logits = step(executor(data, "llama", "f32", SCALED["llama-yarn"]), rows)
    assert nmse(logits, np.load(data / "arch" / "f32-cache.npz")["llama-yarn-heeded"]) < 1e-11


@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_chunks_equal_the_whole(data: Path, chunk: int) -> None:
    tokens = np.load(data / "arch" / "qwen3-dense.npz")["tokens"]
    expected = step(executor(data, "qwen3"), segment(tokens))
    assert nmse(in_chunks(executor(data, "qwen3"), tokens, chunk), expected) < 1e-13


def test_sequences_share_a_batch_and_pages_lie_anywhere(data: Path) -> None:
    tokens = np.load(data / "arch" / "llama-dense.npz")["tokens"]
    long, short = np.tile(tokens, 3)[: PAGE_LEN + 20], tokens[::-1]
    alone = [step(executor(data, "llama"), segment(t)) for t in (long, short)]

    model = executor(data, "llama")
    found: list[list[NDArray[np.float32]]] = [[], []]
    for (a, b), (c, d) in (((0, 30), (0, 11)), ((30, 84), (11, 48))):
        parts = (segment(long[a:b], a, (5, 2)), segment(short[c:d], c, (7,)))
        logits = step(model, *parts)
        found[0].append(logits[: b - a])
        found[1].append(logits[b - a :])
    for own, expected in zip(found, alone, strict=True):
        assert nmse(np.concatenate(own), expected) < 1e-13


def test_only_the_rows_asked_for_get_logits(data: Path) -> None:
    every = step(executor(data, "qwen2"), segment(range(10)))
    some = step(executor(data, "qwen2"), segment(range(10), logit_rows=[3, 9]))
    assert nmse(some, every[[3, 9]]) < 1e-13
    none = step(executor(data, "qwen2"), segment(range(10), logit_rows=[]))
    assert none.shape == (0, 128)


def test_an_f16_cache_rounds_keys_and_values(data: Path) -> None:
    exact, rounded = (step(executor(data, "llama", t), segment(range(40))) for t in ("f32", "f16"))
    assert 1e-9 < nmse(rounded, exact) < 1e-5


def test_an_unknown_cache_type_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match=r"kv_type must be one of f16, f32, .*; got 'q3'"):
        executor(data, "llama", "q3")


def test_cancel_stops_between_ops(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step under way, and every later one."""
    model = executor(data, "llama")
    n_adds = 0
    run_add = add.run

    def add_and_cancel(one: Step, op: Add) -> Array:
        nonlocal n_adds
        n_adds += 1
        model.cancel()
        return run_add(one, op)

    monkeypatch.setattr(add, "run", add_and_cancel)
    for _ in range(2):
        with pytest.raises(Cancelled):
            step(model, segment(range(5)))
    assert n_adds == 1


def one_layer() -> Graph:
    """What one op alone is run in: a layer whose cache has heads of 4."""
    state = KV((0,), 4, 4, 1)
    return Graph("one", (), (0,), "out", {}, {}, (state,), 8, 128, 8)


def run_ops(
    n_tokens: int, *ops: Op, v_in_k: int = 0, **arrays: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ops one after another on named arrays, which serve as values and as weights."""
    k, v = np.zeros((2, 2, PAGE_LEN, 1, 4))
    pages = Pages(k, k[..., :v_in_k] if v_in_k else v, np.array, np.array)
    batch = Batch((segment(np.arange(n_tokens), table=(1, 0)),))
    one = Step(one_layer(), batch, arrays, {0: pages}, {}, None, {**arrays})
    for op in ops:
        made = run(one, op)
    assert made is not None
    return made


@pytest.mark.parametrize("window", [None, 1, 3, PAGE_LEN + 1])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("v_in_k", [False, True])
def test_attention(window: int | None, softcap: float | None, v_in_k: bool) -> None:
    rng = np.random.default_rng(0)
    n_tokens, v_width = PAGE_LEN + 6, 3 if v_in_k else 4
    q = rng.normal(size=(n_tokens, 8))
    k, v = rng.normal(size=(2, n_tokens, 4))
    store = StoreKV("k", None if v_in_k else "v", 0, 1, 4, v_width, window)
    op = Attention("out", "q", 0, 2, 1, 4, v_width, 0.5, window, softcap)
    out = run_ops(n_tokens, store, op, v_in_k=v_width if v_in_k else 0, q=q, k=k, v=v)
    v = k[:, :v_width] if v_in_k else v
    for t in range(n_tokens):
        for head in range(2):
            seen = [s for s in range(n_tokens) if s <= t and (window is None or s > t - window)]
            scores = [float(q[t, head * 4 : head * 4 + 4] @ k[s]) * 0.5 for s in seen]
            if softcap:
                scores = [softcap * math.tanh(score / softcap) for score in scores]
            weights = [math.exp(score) for score in scores]
            expected = sum(w * v[s] for w, s in zip(weights, seen, strict=True)) / sum(weights)
            got = out[t, head * v_width : (head + 1) * v_width]
            np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("style", "partner"), [("norm", [(0, 1), (2, 3)]), ("neox", [(0, 2), (1, 3)])]
)
def test_rope(style: str, partner: list[tuple[int, int]]) -> None:
    x = np.random.default_rng(1).normal(size=(3, 12))
    spec = RopeSpec(style, 4, (1.0, 0.25), mscale=1.5)  # type: ignore[arg-type]
    out = run_ops(3, Rope("out", "x", 6, spec), x=x)
    for t in range(3):
        for head, got in ((x[t, :6], out[t, :6]), (x[t, 6:], out[t, 6:])):
            for (a, b), freq in zip(partner, spec.inv_freq, strict=True):
                cos, sin = 1.5 * math.cos(t * freq), 1.5 * math.sin(t * freq)
                assert got[a] == pytest.approx(head[a] * cos - head[b] * sin)
                assert got[b] == pytest.approx(head[a] * sin + head[b] * cos)
            np.testing.assert_array_equal(got[4:], head[4:])


def test_norms() -> None:
    x = np.array([[1.0, 3.0, -2.0, 6.0]])
    w, b = np.array([2.0, 0.5]), np.array([1.0, -1.0])
    rms = run_ops(1, Norm("out", "x", "w", 2, 0.25), x=x, w=w)
    first, second = math.sqrt(5.25), math.sqrt(20.25)
    np.testing.assert_allclose(rms, [[2 / first, 1.5 / first, -4 / second, 3 / second]])
    layer = run_ops(1, Norm("out", "x", "w", 2, 0.0, "layer", "b"), x=x, w=w, b=b)
    np.testing.assert_allclose(layer, [[-1.0, -0.5, -1.0, -0.5]])


def test_glu() -> None:
    x, up = np.array([[-2.0, 0.5]]), np.array([[3.0, -1.0]])
    silu = run_ops(1, Glu("out", "x", "up"), x=x, up=up)
    expected = [u * v / (1 + math.exp(-v)) for v, u in zip(x[0], up[0], strict=True)]
    np.testing.assert_allclose(silu[0], expected)
    gelu = run_ops(1, Glu("out", "x", "up", "gelu"), x=x, up=up)
    exact = [
        u * v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v, u in zip(x[0], up[0], strict=True)
    ]
    np.testing.assert_allclose(gelu[0], exact, atol=2e-3)  # the tanh form is this close


def test_embedding_scale_and_bias() -> None:
    table = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    tensors = {
        "e": QTensor("e", F32, (4, 2), table.view(np.uint8).ravel()),
        "b": QTensor("b", F32, (4,), np.full(4, 0.5, np.float32).view(np.uint8)),
    }
    builder = GraphBuilder()
    x = builder.append(Embed("x", "e", 4, 2, scale=3.0))
    builder.append(Linear("out", builder.append(Select("some", x)), "e", 4, "b"))
    graph = builder.build("none", n_ctx_train=8, dim=2)
    model = prepare(reference, (graph, tensors), capacities=())
    rows = replace(segment([2, 1], logit_rows=[1]), tables=())
    np.testing.assert_array_equal(step(model, rows), [[2 * 3 * 0 + 3 * 3 + 0.5, 39.5, 69.5, 99.5]])
    assert model.placement()[0][0] == "Embed e"
    model.close()


def test_weights_that_are_not_finite_show_in_the_logits(data: Path) -> None:
    graph, tensors = open_model(data / "arch" / "llama-dense.gguf")
    norm = tensors["output_norm.weight"]
    values = norm.dequantize().copy()
    values[7] = np.inf
    changed = {**tensors, norm.name: replace(norm, source=values.view(np.uint8))}
    model = reference.prepare(graph, changed, SETTINGS, lambda *_: None)
    assert not np.isfinite(step(model, segment([1]))).any()

"""The reference backend: the oracles' logits, and each op against a formula written otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qrt.arch import build_graph
from qrt.backends.base import Cancelled, Executor, Settings
from qrt.backends.reference import ops, prepare
from qrt.errors import InputError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.f32 import F32
from qrt.graph import ir
from qrt.graph.batch import PAGE_LEN, Batch
from qrt.graph.builder import GraphBuilder

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
    file = open_gguf(data / "arch" / f"{name}-dense.gguf")
    changed = {f"{name}.{key}": value for key, value in (changes or {}).items()}
    graph = build_graph({**file.metadata, **changed}, file.tensors, name)
    return prepare(graph, file.tensors, Settings(1, 8, 512, kv_type), lambda *_: None)


def batch(
    rows: Sequence[tuple[int, int, int]],
    tables: Sequence[Sequence[int]] = ((0, 1),),
    logit_rows: Sequence[int] | None = None,
) -> Batch:
    """A batch of rows (token, position, table)."""
    tokens, positions, table_of = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    wanted = range(len(rows)) if logit_rows is None else logit_rows
    page_tables = tuple(np.array(table, np.int32) for table in tables)
    return Batch(tokens, positions, table_of, page_tables, np.array(wanted, np.int32))


def whole(tokens: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(int(token), position, 0) for position, token in enumerate(tokens)]


def nmse(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    a, b = got.astype(np.float64), expected.astype(np.float64)
    return float(((a - b) ** 2).mean() / (b**2).mean())


@pytest.mark.parametrize("name", MODELS)
def test_oracle_logits(data: Path, name: str) -> None:
    oracle = np.load(data / "arch" / f"{name}-dense.npz")
    rows = whole(oracle["tokens"])
    logits = executor(data, name, "f16").step(batch(rows), "prefill")
    assert logits.dtype == np.float32
    assert nmse(logits, oracle["logits"]) < 1e-6  # that oracle sums its attention in F16
    assert nmse(logits[:1], oracle["logits"][:1]) < 1e-7
    exact = np.load(data / "arch" / "f32-cache.npz")[name]
    assert nmse(executor(data, name, "f32").step(batch(rows), "prefill"), exact) < 1e-11


@pytest.mark.parametrize("case", SCALED)
def test_scaled_rope_logits(data: Path, case: str) -> None:
    name = case.split("-")[0]
    rows = whole(np.load(data / "arch" / f"{name}-dense.npz")["tokens"])
    logits = executor(data, name, "f32", SCALED[case]).step(batch(rows), "prefill")
    assert nmse(logits, np.load(data / "arch" / "f32-cache.npz")[case]) < 1e-11


@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_chunks_equal_the_whole(data: Path, chunk: int) -> None:
    rows = whole(np.load(data / "arch" / "qwen3-dense.npz")["tokens"])
    expected = executor(data, "qwen3").step(batch(rows), "prefill")
    model = executor(data, "qwen3")
    parts = [
        model.step(batch(rows[i : i + chunk]), "decode" if chunk == 1 else "prefill")
        for i in range(0, len(rows), chunk)
    ]
    assert nmse(np.concatenate(parts), expected) < 1e-13


def test_sequences_share_a_batch_and_pages_lie_anywhere(data: Path) -> None:
    tokens = np.load(data / "arch" / "llama-dense.npz")["tokens"]
    long, short = np.tile(tokens, 3)[: PAGE_LEN + 20], tokens[::-1]
    alone = [executor(data, "llama").step(batch(whole(t)), "prefill") for t in (long, short)]

    tables = ((5, 2), (7,))
    rows = [(int(token), at, 0) for at, token in enumerate(long)]
    rows += [(int(token), at, 1) for at, token in enumerate(short)]
    rows.sort(key=lambda row: row[1])  # interleaved
    model = executor(data, "llama")
    half = len(rows) // 2
    logits = np.concatenate(
        [model.step(batch(part, tables), "prefill") for part in (rows[:half], rows[half:])]
    )
    for table, expected in enumerate(alone):
        own = [i for i, row in enumerate(rows) if row[2] == table]
        assert nmse(logits[own], expected) < 1e-13


def test_only_the_rows_asked_for_get_logits(data: Path) -> None:
    rows = whole(range(10))
    every = executor(data, "qwen2").step(batch(rows), "prefill")
    some = executor(data, "qwen2").step(batch(rows, logit_rows=[3, 9]), "prefill")
    assert nmse(some, every[[3, 9]]) < 1e-13
    none = executor(data, "qwen2").step(batch(rows, logit_rows=[]), "prefill")
    assert none.shape == (0, 128)


def test_an_f16_cache_rounds_keys_and_values(data: Path) -> None:
    rows = whole(range(40))
    exact, rounded = (
        executor(data, "llama", t).step(batch(rows), "prefill") for t in ("f32", "f16")
    )
    assert 1e-9 < nmse(rounded, exact) < 1e-5


def test_an_unknown_cache_type_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match=r"kv_type must be one of f16, f32, .*; got 'q3'"):
        executor(data, "llama", "q3")


def test_cancel_stops_between_ops(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = executor(data, "llama")
    rows = batch(whole(range(5)))
    expected = model.step(rows, "prefill")

    def add_and_cancel(step: ops.Step, op: ir.Add) -> ops.Array:
        model.cancel()
        return ops.add(step, op)

    with monkeypatch.context() as patch:
        patch.setitem(ops.OPS, ir.Add, add_and_cancel)
        with pytest.raises(Cancelled):
            model.step(rows, "prefill")
    np.testing.assert_array_equal(model.step(rows, "prefill"), expected)


def run(op: ir.Op, n_tokens: int = 1, **arrays: NDArray[np.float64]) -> NDArray[np.float64]:
    """One op on named arrays, which serve as values and as weights."""
    rows = batch(whole(range(n_tokens)))
    pages = {0: ops.Pages(*np.zeros((2, 2, PAGE_LEN, 1, 4)), ops.as_given, ops.as_given)}
    return ops.OPS[type(op)](ops.Step(rows, arrays, pages, arrays), op)


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_attention(window: int | None, softcap: float | None) -> None:
    rng = np.random.default_rng(0)
    n_tokens = PAGE_LEN + 6
    q = rng.normal(size=(n_tokens, 8))
    k, v = rng.normal(size=(2, n_tokens, 4))
    op = ir.Attention("out", "q", "k", "v", 0, 2, 1, 4, 0.5, window, softcap)
    out = run(op, n_tokens, q=q, k=k, v=v)
    for t in range(n_tokens):
        for head in range(2):
            seen = [s for s in range(n_tokens) if s <= t and (window is None or s > t - window)]
            scores = [float(q[t, head * 4 : head * 4 + 4] @ k[s]) * 0.5 for s in seen]
            if softcap:
                scores = [softcap * math.tanh(score / softcap) for score in scores]
            weights = [math.exp(score) for score in scores]
            expected = sum(w * v[s] for w, s in zip(weights, seen, strict=True)) / sum(weights)
            np.testing.assert_allclose(out[t, head * 4 : head * 4 + 4], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("style", "partner"), [("norm", [(0, 1), (2, 3)]), ("neox", [(0, 2), (1, 3)])]
)
def test_rope(style: str, partner: list[tuple[int, int]]) -> None:
    x = np.random.default_rng(1).normal(size=(3, 12))
    spec = ir.RopeSpec(style, 4, (1.0, 0.25), mscale=1.5)  # type: ignore[arg-type]
    out = run(ir.Rope("out", "x", 6, spec), 3, x=x)
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
    rms = run(ir.Norm("out", "x", "w", 2, 0.25), x=x, w=w)
    first, second = math.sqrt(5.25), math.sqrt(20.25)
    np.testing.assert_allclose(rms, [[2 / first, 1.5 / first, -4 / second, 3 / second]])
    layer = run(ir.Norm("out", "x", "w", 2, 0.0, "layer", "b"), x=x, w=w, b=b)
    np.testing.assert_allclose(layer, [[-1.0, -0.5, -1.0, -0.5]])


def test_glu() -> None:
    x, up = np.array([[-2.0, 0.5]]), np.array([[3.0, -1.0]])
    silu = run(ir.Glu("out", "x", "up"), x=x, up=up)
    expected = [u * v / (1 + math.exp(-v)) for v, u in zip(x[0], up[0], strict=True)]
    np.testing.assert_allclose(silu[0], expected)
    gelu = run(ir.Glu("out", "x", "up", "gelu"), x=x, up=up)
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
    x = builder.embed("x", "e", 4, 2, scale=3.0)
    builder.linear("out", builder.select("some", x), "e", 4, "b")
    graph = builder.build("none", n_ctx_train=8, n_layers=0, dim=2)
    model = prepare(graph, tensors, Settings(1, 1, 8, "f16"), lambda *_: None)
    logits = model.step(batch([(2, 0, 0), (1, 1, 0)], logit_rows=[1]), "prefill")
    np.testing.assert_array_equal(logits, [[2 * 3 * 0 + 3 * 3 + 0.5, 39.5, 69.5, 99.5]])
    assert model.placement()[0][0] == "x"
    model.close()


def test_weights_that_are_not_finite_show_in_the_logits(data: Path) -> None:
    file = open_gguf(data / "arch" / "llama-dense.gguf")
    norm = file.tensors["output_norm.weight"]
    values = norm.dequantize().copy()
    values[7] = np.inf
    tensors = {**file.tensors, norm.name: replace(norm, source=values.view(np.uint8))}
    graph = build_graph(file.metadata, tensors, "llama")
    model = prepare(graph, tensors, Settings(1, 1, 8, "f16"), lambda *_: None)
    assert not np.isfinite(model.step(batch([(1, 0, 0)]), "decode")).any()

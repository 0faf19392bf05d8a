"""The CPU backend: llama.cpp's logits, the same bits however a step is cut, and how it stops."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kernels import nmse
from numpy.typing import NDArray
from oracles import HALVES, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.backends.base import Cancelled, Executor, Settings
from qrt.backends.cpu.placement import tiling_for
from qrt.errors import BackendError
from qrt.formats.gguf import open_gguf
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import PAGE_LEN, Batch, Phase
from qrt.graph.builder import GraphBuilder
from qrt.graph.ir import Graph
from qrt.kernels.isa import TIERS

pytestmark = pytest.mark.usefixtures("lab")  # all kernels are compiled at once

ARCHITECTURES = ("llama", "qwen2", "qwen3")
TABLE = np.array([2, 0, 3, 1], np.int32)


def prepare(path: Path, kv_type: str = "f16", n_threads: int = 2) -> Executor:
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    settings = Settings(n_threads, n_pages=8, max_rows=150, kv_type=kv_type)
    return cpu.prepare(graph, file.tensors, settings, lambda *_: None)


def steps(
    model: Executor, tokens: NDArray[np.int64], chunk: int, phase: Phase = "prefill"
) -> NDArray[np.float32]:
    """Logits after every token."""
    parts = []
    for first in range(0, len(tokens), chunk):
        part = np.array(tokens[first : first + chunk], np.int32)
        n = len(part)
        positions = np.arange(first, first + n, dtype=np.int32)
        zeros, every = np.zeros(n, np.int32), np.arange(n, dtype=np.int32)
        parts.append(model.step(Batch(part, positions, zeros, (TABLE,), every), phase).copy())
    return np.concatenate(parts)


def logits(path: Path, tokens: NDArray[np.int64], kv_type: str = "f16") -> NDArray[np.float32]:
    model = prepare(path, kv_type)
    try:
        return steps(model, tokens, len(tokens))
    finally:
        model.close()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(data: Path, name: str) -> None:
    oracle = np.load(data / "arch" / f"{name}-dense.npz")
    path = data / "arch" / f"{name}-dense.gguf"
    assert nmse(logits(path, oracle["tokens"]), oracle["logits"]) <= 1e-6
    exact = np.load(data / "arch" / "f32-cache.npz")[name]
    assert nmse(logits(path, oracle["tokens"], "f32"), exact) <= 1e-9


@pytest.mark.parametrize("name", HALVES)
def test_quantized_weights(data: Path, name: str) -> None:
    """Closer to the exact logits than llama.cpp, or nearly as close."""
    oracle = np.load(data / "quant" / f"llama-{name}.npz")
    got = logits(data / "quant" / f"llama-{name}.gguf", TOKENS)
    assert nmse(got, oracle["logits"]) <= 1.1 * oracle["peer_nmse"]


@pytest.mark.parametrize(
    ("name", "kv_type", "tolerance"),
    [
        ("F32", "f32", 1e-9),
        ("F32", "f16", 1e-6),  # the oracle's cache is F32
        ("F16", "f32", 1e-9),
        ("BF16", "f16", 3e-5),
        ("BF16", "f32", 1e-9),
    ],
)
def test_plain_weights(data: Path, name: str, kv_type: str, tolerance: float) -> None:
    oracle = np.load(data / "quant" / f"llama-{name}.npz")
    path = data / "quant" / f"llama-{name}.gguf"
    assert nmse(logits(path, TOKENS, kv_type), oracle["logits"]) <= tolerance


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_reference_backend_agrees(data: Path, name: str) -> None:
    path = data / "arch" / f"{name}-dense.gguf"
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    exact = reference.prepare(graph, file.tensors, Settings(1, 8, 150, "f32"), lambda *_: None)
    tokens = np.tile(TOKENS, 3)[: 2 * PAGE_LEN + 9]
    want = steps(exact, tokens, len(tokens))
    assert nmse(logits(path, tokens, "f32"), want) <= 1e-9


@pytest.mark.parametrize(
    ("kv_type", "tolerance"),
    [("f32,q8_0", 1e-9), ("q8_0", 4e-5), ("q8_0,q4_0", 2e-4), ("q4_0", 4e-4)],
)
def test_caches_of_blocks(data: Path, kv_type: str, tolerance: float) -> None:
    """As in the reference but for the queries, which become 8-bit numbers where K is in blocks."""
    path = data / "arch" / "llama-dense.gguf"
    file = open_gguf(path)
    graph = build_graph(file.metadata, file.tensors, str(path))
    exact = reference.prepare(graph, file.tensors, Settings(1, 8, 150, kv_type), lambda *_: None)
    tokens = np.tile(TOKENS, 3)[: 2 * PAGE_LEN + 9]
    want = steps(exact, tokens, len(tokens))
    assert nmse(logits(path, tokens, kv_type), want) <= tolerance


@pytest.mark.parametrize(
    ("name", "kv_type"),
    [
        ("quant/llama-Q4_K", "f16"),
        ("quant/llama-F32", "f16"),
        ("arch/qwen3-dense", "f16"),
        ("quant/llama-Q4_K", "q8_0,q4_0"),
        ("arch/llama-dense", "q4_0,f16"),
    ],
)
def test_chunks_and_threads_do_not_show(data: Path, name: str, kv_type: str) -> None:
    want = None
    for n_threads in (1, 2, 3):
        model = prepare(data / f"{name}.gguf", kv_type, n_threads)
        for chunk in (48, 1, 7, 16):
            got = steps(model, TOKENS, chunk).tobytes()
            assert got == (want := want or got)
        decoded = [steps(model, TOKENS, chunk, "decode").tobytes() for chunk in (1, 5)]
        assert decoded[0] == decoded[1]
        model.close()


def test_tiles_waste_no_rows() -> None:
    counts = (1, 2, 3, 5, 8, 9, 13, 17, 21, 32)
    chosen = [tiling_for(TIERS["avx512vnni"], "decode", n).rows for n in counts]
    assert chosen == [1, 2, 4, 8, 8, 4, 16, 4, 8, 16]


@pytest.mark.parametrize("name", ["Q4_0", "Q6_K", "F16"])
def test_phases_agree(data: Path, name: str) -> None:
    model = prepare(data / "quant" / f"llama-{name}.gguf")
    decoded = steps(model, TOKENS, 1, "decode")
    assert nmse(decoded, steps(model, TOKENS, len(TOKENS), "prefill")) <= 3e-4
    model.close()


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_sequences_in_one_batch_do_not_meet(data: Path, phase: Phase) -> None:
    """Two sequences on scattered pages, interleaved, equal each alone bit for bit."""
    path = data / "quant" / "llama-Q4_K.gguf"
    long, short = np.tile(TOKENS, 2)[: PAGE_LEN + 20], TOKENS[::-1]
    model = prepare(path)
    alone = [steps(model, tokens, len(tokens), phase) for tokens in (long, short)]
    rows = [(at, token, 0) for at, token in enumerate(long)]
    rows += [(at, token, 1) for at, token in enumerate(short)]
    positions, tokens, table_of = (np.array(c, np.int32) for c in zip(*sorted(rows), strict=True))
    tables = (np.array([5, 2], np.int32), np.array([7], np.int32))
    parts = []
    for part in np.array_split(np.arange(len(rows)), 3):
        every = np.arange(len(part), dtype=np.int32)
        batch = Batch(tokens[part], positions[part], table_of[part], tables, every)
        parts.append(model.step(batch, phase).copy())
    together = np.concatenate(parts)
    for table, want in enumerate(alone):
        assert together[table_of == table].tobytes() == want.tobytes()
    model.close()


def test_only_the_rows_asked_for_get_logits(data: Path) -> None:
    model = prepare(data / "arch" / "qwen2-dense.gguf")
    every = steps(model, TOKENS, len(TOKENS))
    positions, zeros = np.arange(48, dtype=np.int32), np.zeros(48, np.int32)
    for rows in ([], [47], [0, 5, 6, 31]):
        wanted = np.array(rows, np.int32)
        batch = Batch(TOKENS.astype(np.int32), positions, zeros, (TABLE,), wanted)
        got = model.step(batch, "prefill")
        assert got.shape == (len(rows), 128)
        assert got.tobytes() == every[wanted].tobytes()
    model.close()


def chain(n_linears: int, n_selected: int = 0) -> tuple[Graph, dict[str, QTensor]]:
    """Linears in a row that share a weight, with residuals; the last `n_selected` on logit rows."""
    dim, graph = 256, GraphBuilder()
    x = graph.embed("x", "table", 8, dim)
    for i in range(n_linears):
        if i == n_linears - n_selected:
            x = graph.select("selected", x)
        h = graph.linear(f"h{i}", x, "weight", dim)
        h = graph.glu(f"g{i}", h, x)
        x = graph.norm(f"x{i}", graph.add(f"a{i}", x, h), "scale", 1e-5)
    if not n_selected:
        x = graph.select("selected", x)
    graph.linear("out", x, "weight", dim)
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in {"table": (8, dim), "weight": (dim, dim), "scale": (dim,)}.items():
        values = (rng.normal(size=shape) * (1 if name == "table" else dim**-0.5)).astype("<f4")
        tensors[name] = QTensor(name, QTYPES["F32"], shape, values.view(np.uint8).reshape(-1))
    return graph.build("chain", n_ctx_train=8, n_layers=0, dim=dim), tensors


def chain_batch(n_rows: int, logit_rows: list[int]) -> Batch:
    tokens = np.arange(n_rows, dtype=np.int32) % 8
    zeros = np.zeros(n_rows, np.int32)
    return Batch(tokens, tokens, zeros, (zeros,), np.array(logit_rows, np.int32))


def test_ops_after_the_choice_of_rows() -> None:
    graph, tensors = chain(4, n_selected=2)
    settings = Settings(3, 1, 40, "f32")
    exact = reference.prepare(graph, tensors, settings, lambda *_: None)
    model = cpu.prepare(graph, tensors, settings, lambda *_: None)
    for n_rows, wanted in ((5, [4]), (40, [0, 3, 9, 39]), (33, list(range(33)))):
        batch = chain_batch(n_rows, wanted)
        want = exact.step(batch, "prefill")
        for phase in ("prefill", "decode"):
            assert nmse(model.step(batch, phase), want) <= 1e-10
    model.close()


@pytest.fixture
def slow() -> Iterator[Executor]:
    """A model whose prefill of 512 rows takes about a second, in a thousand ops."""
    graph, tensors = chain(400)
    model = cpu.prepare(graph, tensors, Settings(2, 1, 512, "f32"), lambda *_: None)
    yield model
    model.close()


def test_cancel_from_another_thread(slow: Executor) -> None:
    want = slow.step(chain_batch(3, [2]), "prefill").copy()
    for phase in ("prefill", "decode"):
        timer = threading.Timer(0.05, slow.cancel)
        timer.start()
        start = time.perf_counter()
        with pytest.raises(Cancelled):
            slow.step(chain_batch(512, [0]), phase)
        assert time.perf_counter() - start < 0.5
        timer.join()
        assert slow.step(chain_batch(3, [2]), phase).tobytes() == want.tobytes()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="POSIX signals")
def test_ctrl_c_in_prefill(slow: Executor) -> None:
    want = slow.step(chain_batch(3, [2]), "prefill").copy()
    main = threading.main_thread().ident
    assert main is not None
    for _ in range(3):
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            slow.step(chain_batch(512, [0]), "prefill")
        assert time.perf_counter() - start < 0.5
        assert not slow._teams["prefill"]._busy.locked()
        assert slow.step(chain_batch(3, [2]), "prefill").tobytes() == want.tobytes()


def test_heads_too_large_for_the_scratch_are_refused() -> None:
    graph = GraphBuilder()
    q = graph.embed("q", "table", 8, 2048)
    graph.attention("out", q, q, q, layer=0, head_dim=2048, scale=1.0)
    built = graph.build("wide", n_ctx_train=8, n_layers=1, dim=2048)
    with pytest.raises(BackendError, match=r"heads have 2048 dimensions, .* at most 1024"):
        cpu.prepare(built, {}, Settings(1, 1, 1, "f16"), lambda *_: None)


def test_more_memory_than_there_is(data: Path) -> None:
    file = open_gguf(data / "arch" / "llama-dense.gguf")
    graph = build_graph(file.metadata, file.tensors, "m.gguf")
    with pytest.raises(BackendError, match=r"cannot reserve [0-9.]+ GiB of memory; use a smaller"):
        cpu.prepare(graph, file.tensors, Settings(1, 1 << 45, 8, "f16"), lambda *_: None)


def test_placement_names_every_op(data: Path) -> None:
    model = prepare(data / "quant" / "llama-Q4_K.gguf")
    rows = model.placement()
    assert any("blk.1.ffn_down" in op and "Q4_K" in where for op, where in rows)
    model.close()


def test_a_table_that_is_only_looked_up_stays_in_the_file() -> None:
    """A table that the output reads too is packed; either way a token gets its row."""
    for output in ("table", "weight"):
        graph = GraphBuilder()
        x = graph.select("selected", graph.embed("x", "table", 256, 256))
        graph.linear("out", x, output, 256)
        built = graph.build("lookup", n_ctx_train=8, n_layers=0, dim=256)
        _, tensors = chain(1)
        tensors["table"] = tensors["weight"]
        model = cpu.prepare(built, tensors, Settings(2, 1, 8, "f32"), lambda *_: None)
        exact = reference.prepare(built, tensors, Settings(1, 1, 8, "f32"), lambda *_: None)
        table = model.recorder.weights["table"]
        assert table.packed == (output == "table")
        assert np.shares_memory(table.data, tensors["table"].data) != table.packed
        batch = chain_batch(8, [0, 7])
        assert nmse(model.step(batch, "prefill"), exact.step(batch, "prefill")) <= 1e-12
        model.close()

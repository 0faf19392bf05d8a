"""The CPU backend: llama.cpp's logits, the same bits however a step is cut, and how it stops."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernels import EXPANDED, nmse
from numpy.typing import NDArray
from oracles import HALVES, TOKENS, random_weights
from steps import Model, prepare, segment, step

from qrt.backends import cpu, reference
from qrt.backends.base import Cancelled, Executor, file_of
from qrt.backends.cpu.executor import CpuExecutor
from qrt.backends.cpu.ops import runner
from qrt.backends.cpu.tiling import tiling_for
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import PAGE_LEN, Segment
from qrt.graph.builder import GraphBuilder
from qrt.graph.op import Op
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.select import Select
from qrt.kernels.isa import TIERS

preparing = sys.modules[cpu.prepare.__module__]

pytestmark = pytest.mark.usefixtures("lab")  # all kernels are compiled at once

ARCHITECTURES = ("llama", "qwen2", "qwen3")


def logits(path: Path, tokens: NDArray[np.int64], kv_type: str = "f16") -> NDArray[np.float32]:
    with closing(prepare(cpu, path, kv_type=kv_type)) as model:
        return step(model, segment(tokens))


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
    tokens = np.tile(TOKENS, 3)[: 2 * PAGE_LEN + 9]
    want = step(prepare(reference, path, kv_type="f32"), segment(tokens))
    assert nmse(logits(path, tokens, "f32"), want) <= 1e-9


@pytest.mark.parametrize(
    ("kv_type", "tolerance"),
    [("f32,q8_0", 1e-9), ("q8_0", 4e-5), ("q8_0,q4_0", 2e-4), ("q4_0", 4e-4)],
)
def test_caches_of_blocks(data: Path, kv_type: str, tolerance: float) -> None:
    """As in the reference but for the queries, which become 8-bit numbers where K is in blocks."""
    path = data / "arch" / "llama-dense.gguf"
    tokens = np.tile(TOKENS, 3)[: 2 * PAGE_LEN + 9]
    want = step(prepare(reference, path, kv_type=kv_type), segment(tokens))
    assert nmse(logits(path, tokens, kv_type), want) <= tolerance


def test_tiles_waste_no_rows() -> None:
    counts = (1, 2, 3, 5, 8, 9, 13, 17, 21, 32)
    chosen = [tiling_for(TIERS["avx512vnni"], n).rows for n in counts]
    assert chosen == [1, 2, 4, 8, 8, 4, 16, 4, 8, 16]


def chain(n_linears: int, n_selected: int = 0) -> Model:
    """Linears in a row that share a weight, with residuals; the last `n_selected` on logit rows."""
    dim, graph = 256, GraphBuilder()
    x = graph.append(Embed("x", "table", 8, dim))
    for i in range(n_linears):
        if i == n_linears - n_selected:
            x = graph.append(Select("selected", x))
        h = graph.append(Linear(f"h{i}", x, "weight", dim))
        h = graph.append(Glu(f"g{i}", h, x))
        h = graph.append(Add(f"a{i}", x, h))
        x = graph.append(Norm(f"x{i}", h, "scale", dim, 1e-5))
    if not n_selected:
        x = graph.append(Select("selected", x))
    graph.append(Linear("out", x, "weight", dim))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in {"table": (8, dim), "weight": (dim, dim), "scale": (dim,)}.items():
        values = (rng.normal(size=shape) * (1 if name == "table" else dim**-0.5)).astype("<f4")
        tensors[name] = QTensor(name, QTYPES["F32"], shape, values.view(np.uint8).reshape(-1))
    return graph.build("chain", n_ctx_train=8, dim=dim), tensors


def rows_of_chain(n_rows: int, logit_rows: list[int]) -> Segment:
    return replace(segment(np.arange(n_rows) % 8, logit_rows=logit_rows), tables=())


def test_ops_after_the_choice_of_rows() -> None:
    built = chain(4, n_selected=2)
    exact = prepare(reference, built, capacities=())
    with closing(prepare(cpu, built, capacities=(), n_threads=3)) as model:
        for n_rows, wanted in ((5, [4]), (40, [0, 3, 9, 39]), (33, list(range(33)))):
            rows = rows_of_chain(n_rows, wanted)
            assert nmse(step(model, rows), step(exact, rows)) <= 1e-10


def test_a_type_without_kernels_is_an_error() -> None:
    graph, tensors = chain(1)
    changed = {**tensors, "weight": replace(tensors["weight"], qtype=QTYPES["I8"])}
    with pytest.raises(BackendError, match=r"tensor 'weight': .*MXFP4.*, got I8; "):
        prepare(cpu, (graph, changed), capacities=())


@pytest.fixture
def slow() -> Iterator[Executor]:
    """A model whose prefill of 512 rows takes about a second, in a thousand ops."""
    model = prepare(cpu, chain(400), capacities=(), max_rows=512, n_ctx=512)
    yield model
    model.close()


@pytest.mark.parametrize("n_rows", [512, 32])
def test_cancel_from_another_thread(slow: Executor, n_rows: int) -> None:
    """It stops the step under way and every later one."""
    timer = threading.Timer(0.02, slow.cancel)
    timer.start()
    start = time.perf_counter()
    with pytest.raises(Cancelled):
        [step(slow, rows_of_chain(n_rows, [0])) for _ in range(1000)]
    assert time.perf_counter() - start < 0.5
    timer.join()
    with pytest.raises(Cancelled):
        step(slow, rows_of_chain(3, [2]))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="POSIX signals")
def test_ctrl_c_in_prefill(slow: Executor) -> None:
    want = step(slow, rows_of_chain(3, [2]))
    main = threading.main_thread().ident
    assert main is not None
    for _ in range(3):
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            step(slow, rows_of_chain(512, [0]))
        assert time.perf_counter() - start < 0.5
        assert isinstance(slow, CpuExecutor)
        assert not slow._teams["prefill"]._busy.locked()
        assert step(slow, rows_of_chain(3, [2])).tobytes() == want.tobytes()


def test_heads_too_large_for_the_scratch_are_refused() -> None:
    graph = GraphBuilder()
    q = graph.append(Embed("q", "table", 8, 2048))
    graph.attention("out", q, q, q, layer=0, n_heads=1, n_kv_heads=1, scale=1.0)
    built = graph.build("wide", n_ctx_train=8, dim=2048)
    with pytest.raises(BackendError, match=r"heads have 2048 dimensions, .* at most 1024"):
        prepare(cpu, (built, {}))


def test_an_op_without_a_kernel_is_named() -> None:
    @dataclass(frozen=True, slots=True)
    class Toy(Op):
        """A copy."""

        kind = "toy"

        out: str
        x: str

        @property
        def reads(self) -> tuple[str, ...]:
            return (self.x,)

    built, tensors = chain(1)
    toy = Toy("toyed", "out")
    with_toy = replace(
        built, ops=(*built.ops, toy), output="toyed", widths={**built.widths, "toyed": 256}
    )
    expected = "the CPU backend has no kernel for op 'toy'; use backend='reference'"
    with pytest.raises(BackendError) as error:
        prepare(cpu, (with_toy, tensors), capacities=())
    assert str(error.value) == expected


def test_a_file_of_an_op_that_cannot_be_imported_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a fault of ours, not of the model."""
    file_of.cache_clear()
    monkeypatch.delitem(sys.modules, "qrt.backends.cpu.ops.add", raising=False)
    monkeypatch.setitem(sys.modules, "qrt.kernels", None)
    with pytest.raises(ModuleNotFoundError, match=r"qrt\.kernels"):
        runner(Add("out", "a", "b"))


def test_more_memory_than_there_is(data: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot reserve [0-9.]+ GiB of memory; use a smaller"):
        prepare(cpu, data / "arch" / "llama-dense.gguf", capacities=(1 << 45,))


def test_a_preparation_that_fails_leaves_no_thread(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_teams = 0

    class Counted(preparing.Team):
        def __init__(self, *args: Any) -> None:
            nonlocal n_teams
            n_teams += 1
            super().__init__(*args)

    def refuse(*_: object, **__: object) -> None:
        raise BackendError("cannot reserve 9.0 GiB of memory; use a smaller n_ctx")

    path, before = data / "quant" / "llama-Q4_K.gguf", set(threading.enumerate())
    monkeypatch.setattr(preparing, "Team", Counted)
    for name in ("reserve_states", "reserve", "CpuExecutor"):
        with monkeypatch.context() as patch:
            patch.setattr(preparing, name, refuse)
            with pytest.raises(BackendError, match=r"cannot reserve 9\.0 GiB"):
                prepare(cpu, path, n_threads=3, decode_threads=2)
        assert set(threading.enumerate()) == before
    assert n_teams == 6


def test_placement_names_every_op(data: Path) -> None:
    with closing(prepare(cpu, data / "quant" / "llama-Q4_K.gguf")) as model:
        rows = model.placement()
    assert any("blk.1.ffn_down" in op and "Q4_K" in where for op, where in rows)


def looking_up(output: str, table: QTensor) -> Model:
    """Rows of a table, 256 wide as those of `chain`, times a matrix or the table itself."""
    graph = GraphBuilder()
    x = graph.append(Select("selected", graph.append(Embed("x", "table", 256, 256))))
    graph.append(Linear("out", x, output, 256))
    weight = chain(1)[1]["weight"]
    tensors = {"table": table, "weight": weight}
    return graph.build("lookup", n_ctx_train=8, dim=256), tensors


@pytest.mark.parametrize("output", ["table", "weight"])
def test_a_table_that_is_only_looked_up_stays_in_the_file(output: str) -> None:
    """A table that the output reads too is packed; either way a token gets its row."""
    built = looking_up(output, chain(1)[1]["weight"])
    exact, source = prepare(reference, built, capacities=()), built[1]["table"].source
    with closing(prepare(cpu, built, capacities=())) as model:
        table = model.recorder.weights["table"]
        assert table.packed == (output == "table")
        assert np.shares_memory(table.data, source) != table.packed
        rows = rows_of_chain(8, [0, 7])
        assert nmse(step(model, rows), step(exact, rows)) <= 1e-12


@pytest.mark.parametrize("qtype", EXPANDED)
def test_a_table_whose_panels_are_laid_out_anew_is_packed(qtype: str) -> None:
    kind = QTYPES[qtype]
    blocks = random_weights(kind, 256 * 256, 1.0, 3)
    built = looking_up("weight", QTensor("table", kind, (256, 256), blocks.reshape(-1)))
    exact, rows = prepare(reference, built, capacities=()), rows_of_chain(8, [0, 7])
    with closing(prepare(cpu, built, capacities=())) as model:
        assert model.recorder.weights["table"].data.size > blocks.size
        assert nmse(step(model, rows), step(exact, rows)) <= 1e-12

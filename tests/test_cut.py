"""A model cut at layer borders: its parts, run one after another, are the whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from kernels import nmse
from oracles import TOKENS
from steps import Logits, Model, in_chunks, open_model, prepare, segment

from qrt.backends import cpu, reference
from qrt.backends.base import Executor
from qrt.errors import BackendError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.batch import Batch, Segment
from qrt.graph.builder import GraphBuilder
from qrt.graph.cut import cut
from qrt.graph.graph import Graph
from qrt.graph.ops.add import Add
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.select import Select
from qrt.graph.state import KV

pytestmark = pytest.mark.usefixtures("lab")

MODELS = pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])


class Pipeline:
    """Parts of a model, each on a backend, as one executor."""

    def __init__(self, parts: Sequence[Executor]) -> None:
        self.parts = parts

    def step(self, batch: Batch) -> Logits:
        hidden = None
        for part in self.parts:
            hidden = part.step(batch, hidden)
        assert hidden is not None
        return hidden


def in_parts(
    stack: ExitStack, model: Model, borders: Sequence[int], backends: Sequence[ModuleType], kv: str
) -> Pipeline:
    graph, tensors = model
    parts = []
    for part, backend in zip(cut(graph, borders), backends, strict=True):
        parts.append(prepare(backend, (part, tensors), kv_type=kv))
        stack.callback(parts[-1].close)
    return Pipeline(parts)


@MODELS
def test_parts_on_the_cpu_give_the_bits_of_the_whole(data: Path, name: str) -> None:
    model = open_model(data / "arch" / f"{name}-dense.gguf")
    with ExitStack() as stack:
        (whole,) = in_parts(stack, model, [], [cpu], "f16").parts
        for borders in ([1], [0], [0, 1]):
            parts = in_parts(stack, model, borders, [cpu] * (len(borders) + 1), "f16")
            for chunk in (48, 1, 20):
                want = in_chunks(whole, TOKENS, chunk)
                assert in_chunks(parts, TOKENS, chunk).tobytes() == want.tobytes()
            some = segment(TOKENS, logit_rows=[0, 5, 33])
            assert parts.step(Batch((some,))).tobytes() == whole.step(Batch((some,))).tobytes()


@MODELS
@pytest.mark.parametrize("backends", [[reference, reference], [reference, cpu], [cpu, reference]])
def test_parts_on_other_backends_give_the_oracle(
    data: Path, name: str, backends: list[ModuleType]
) -> None:
    oracle = np.load(data / "arch" / f"{name}-dense.npz")
    exact = np.load(data / "arch" / "f32-cache.npz")[name]
    model = open_model(data / "arch" / f"{name}-dense.gguf")
    with ExitStack() as stack:
        rounded = in_parts(stack, model, [1], backends, "f16")
        assert nmse(in_chunks(rounded, oracle["tokens"], 48), oracle["logits"]) <= 1e-6
        wide = in_parts(stack, model, [1], backends, "f32")
        assert nmse(in_chunks(wide, oracle["tokens"], 13), exact) <= 1e-9


@MODELS
def test_each_part_has_what_is_its_own(data: Path, name: str) -> None:
    graph, tensors = open_model(data / "arch" / f"{name}-dense.gguf")
    (group,) = graph.states
    assert isinstance(group, KV)
    parts = cut(graph, [1])
    assert [part.n_layers for part in parts] == [1, 1]
    assert [part.states[0].layers for part in parts] == [(0,), (1,)]
    for number, part in enumerate(parts):
        at = part.starts[0]
        first = next(op for op in graph.ops if op.label.startswith(f"blk.{number}."))
        assert part.ops[at] == first
        other = f"blk.{1 - number}."
        assert not any(weight.startswith(other) for weight in part.weights)
        executor = prepare(cpu, (part, tensors))
        (memory,) = executor.recorder.states.memory
        assert {layer for _, layer in executor.recorder.states.addresses} == {number}
        n_bytes = group.n_kv_heads * 64 * (group.k_width + group.v_width) * 2
        assert memory.shape == (1, 8, n_bytes)
        executor.close()
    assert set().union(*(part.weights for part in parts)) == set(graph.weights)
    assert "token_embd.weight" in parts[0].weights


def normed_after(n_layers: int) -> Model:
    """Layers that end on an Add that no matmul takes on, and hidden states that are read again."""
    dim, builder = 64, GraphBuilder()
    x = builder.append(Embed("e", "table", 128, dim))
    for i in range(n_layers):
        builder.begin_layer()
        heads = {"n_heads": 2, "n_kv_heads": 2, "scale": 0.2}
        a = builder.attention(f"a{i}", x, x, x, layer=i, **heads)
        h = builder.append(Linear(f"h{i}", a, "weight", dim))
        x = builder.append(Add(f"x{i}", x, builder.append(Norm(f"n{i}", h, "scale", dim, 1e-5))))
    builder.append(Linear("out", builder.append(Select("s", x)), "table", 128))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in {"table": (128, dim), "weight": (dim, dim), "scale": (dim,)}.items():
        values = rng.normal(size=shape).astype("<f4")
        tensors[name] = QTensor(name, QTYPES["F32"], shape, values.view(np.uint8).reshape(-1))
    return builder.build("normed", n_ctx_train=512, dim=dim), tensors


def test_hidden_states_come_from_any_op() -> None:
    model = normed_after(3)
    with ExitStack() as stack:
        (exact,) = in_parts(stack, model, [], [reference], "f32").parts
        (whole,) = in_parts(stack, model, [], [cpu], "f32").parts
        parts = in_parts(stack, model, [0, 1, 2], [cpu] * 4, "f32")
        for chunk in (48, 7, 1):
            want = in_chunks(whole, TOKENS, chunk)
            assert nmse(want, in_chunks(exact, TOKENS, chunk)) <= 1e-9
            assert in_chunks(parts, TOKENS, chunk).tobytes() == want.tobytes()


def test_sequences_and_pages_go_through_all_parts(data: Path) -> None:
    """A page that is copied in each part goes on as the first."""
    model = open_model(data / "arch" / "qwen3-dense.gguf")
    with ExitStack() as stack:
        parts = in_parts(stack, model, [1], [reference, cpu], "f16")
        want = in_chunks(parts, TOKENS, 48)

        def both(*segments: Segment) -> Logits:
            return parts.step(Batch(segments)).copy()

        both(segment(TOKENS[:20], 0, [6]))
        for part in parts.parts:
            part.copy_page(0, 6, 7)
        mixed = both(segment((TOKENS[20:] + 1) % 128, 20, [6]), segment(TOKENS[20:], 20, [7]))
        assert nmse(mixed[28:], want[20:]) <= 1e-12
        assert nmse(mixed[:28], want[20:]) > 0.01


def test_two_values_cannot_cross() -> None:
    builder = GraphBuilder()
    x = builder.append(Embed("e", "table", 128, 64))
    for i in range(2):
        builder.begin_layer()
        y = builder.append(Linear(f"h{i}", x, "weight", 64))
        x = builder.append(Add(f"x{i}", y, "e"))
    builder.append(Linear("out", builder.append(Select("s", x)), "table", 128))
    graph: Graph = builder.build("skipping", n_ctx_train=8, dim=64)
    assert len(cut(graph, [0])) == 2
    with pytest.raises(BackendError) as error:
        cut(graph, [1])
    assert "skipping cannot be cut before op 3: 2 values cross the border" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_cut_parts_a_cache_from_its_readers() -> None:
    builder = GraphBuilder()
    x = builder.append(Embed("e", "table", 128, 64))
    for i in range(3):
        builder.begin_layer()
        own = {"k": x, "v": x, "layer": i} if i < 2 else {"k": None, "v": None, "layer": 0}
        x = builder.attention(f"a{i}", x, **own, n_heads=2, n_kv_heads=2, scale=0.2)
    builder.append(Linear("out", builder.append(Select("s", x)), "table", 128))
    graph = builder.build("sharing", n_ctx_train=8, dim=64)
    assert len(cut(graph, [0])) == 2
    for border in (1, 2):
        with pytest.raises(BackendError, match=r"cannot be cut before op .* attend to keys"):
            cut(graph, [border])

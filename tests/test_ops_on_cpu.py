"""Ops in a small model: the CPU beside the reference, in any chunks, on any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from fakes import N_VOCAB
from kernels import GLU_ACTS, nmse
from steps import in_chunks, prepare
from toys.models import DIM, attend, linear, norm, tensors_of

from qrt.backends import cpu, reference
from qrt.backends.cpu.states import kv_bytes
from qrt.errors import InputError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants import QTYPES
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.op import Part
from qrt.graph.ops.add import Add
from qrt.graph.ops.add_positions import AddPositions
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.conv import Conv
from qrt.graph.ops.elementwise import Elementwise, Function
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.gate import Gate
from qrt.graph.ops.gaussian_topk import GaussianTopK
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.head_linear import HeadLinear
from qrt.graph.ops.join import Join
from qrt.graph.ops.layer_scale import LayerScale
from qrt.graph.ops.mix import Mix
from qrt.graph.ops.rescale import Rescale
from qrt.graph.ops.select import Select
from qrt.graph.ops.selective_scan import SelectiveScan
from qrt.graph.ops.slice import Slice
from qrt.graph.ops.ssd import Ssd
from qrt.graph.ops.temper import Temper
from qrt.graph.state import KV

pytestmark = pytest.mark.usefixtures("lab")

N_POSITIONS = 384
TOKENS = np.random.default_rng(0).integers(0, N_VOCAB, 140).astype(np.int32)
Make = Callable[[GraphBuilder, str], str]


def graph_of(make: Make, cap: float | None = None) -> Graph:
    """What `make` appends between a layer and logits, which may be capped."""
    graph = GraphBuilder()
    x = graph.append(Embed("embed", "embed.weight", N_VOCAB, DIM))
    graph.begin_layer()
    x = graph.append(Add("x", x, attend(graph, 0, norm(graph, "n", x))))
    h = linear(graph, "last", make(graph, x), DIM)
    logits = linear(graph, "logits", graph.append(Select("selected", h)), N_VOCAB)
    if cap is not None:
        half = graph.append(Elementwise("half", logits, "scale", 0.5))
        graph.append(Elementwise("capped", half, "softcap", cap))
    return graph.build("small", n_ctx_train=N_POSITIONS, dim=DIM)


def glu(graph: GraphBuilder, x: str, act: str) -> str:
    both = linear(graph, "both", x, 128)
    h = graph.append(Glu("h", both, None, act))
    return graph.append(Glu("y", h, linear(graph, "up", x, 64), act))


def function(graph: GraphBuilder, x: str, name: Function) -> str:
    """Once where its input lay, once apart from it."""
    y = graph.append(Elementwise("y", linear(graph, "a", x, 64), name, 1.5))
    return graph.append(Add("z", graph.append(Elementwise("w", y, name, 0.7)), y))


def columns(graph: GraphBuilder, x: str) -> str:
    """Queries and keys of MLA: a part of each head beside one that all share."""
    a, b = linear(graph, "a", x, 4 * 24), linear(graph, "b", x, 8)
    parts = [graph.append(Slice(f"p{at}", a, 24, at, 12)) for at in (0, 12)]
    one = graph.append(Join("one", parts[0], b, 12, 8))
    return graph.append(Join("two", one, parts[1], 20, 12))


def gates(graph: GraphBuilder, x: str) -> str:
    h = graph.append(Gate("h", x, linear(graph, "g", x, DIM)))
    return graph.append(Gate("y", h, linear(graph, "one", x, 1)))


def positions(graph: GraphBuilder, x: str) -> str:
    return graph.append(AddPositions("y", x, "positions", N_POSITIONS))


def attention(graph: GraphBuilder, x: str, **options: object) -> str:
    q = graph.append(Temper("tempered", linear(graph, "q", x, 64), 20, 0.3))
    k, v = (linear(graph, name, x, 32) for name in "kv")
    sizes = {"n_heads": 4, "n_kv_heads": 2, "scale": 0.2}
    return graph.attention("y", q, k, v, layer=1, **sizes, **options)


def of_another_layer(graph: GraphBuilder, x: str) -> str:
    """Attention to what the layer before stored."""
    q = linear(graph, "q", x, 64)
    return graph.append(Attention("y", q, 0, 4, 2, 16, 16, 0.25))


def heads(graph: GraphBuilder, x: str) -> str:
    """What MLA absorbs into queries."""
    h = graph.append(HeadLinear("h", linear(graph, "q", x, 3 * 32), "heads", 3, 40))
    return graph.append(Elementwise("y", h, "scale", 0.5))


def streams(graph: GraphBuilder, x: str) -> str:
    """What AltUp does with two of them, and LayerScale."""
    both = linear(graph, "both", x, 2 * DIM)
    h = graph.append(Rescale("h", both, x, 1e-5))
    weights = linear(graph, "weights", x, 4)
    mixed = graph.append(Mix("mixed", h, 2, (1.0, 0.0, 0.0, 1.0), weights))
    one = graph.append(Mix("one", x, 1, (0.0, 1.0)))
    total = graph.append(Add("total", mixed, one))
    y = graph.append(Mix("y", total, 2, (0.5, 0.25)))
    return graph.append(LayerScale("z", y, "factors", "summands"))


def sparse(graph: GraphBuilder, x: str) -> str:
    """Once where its input lay, once apart from it."""
    once = graph.append(GaussianTopK("once", linear(graph, "a", x, 64), 0.5))
    return graph.append(Add("y", graph.append(GaussianTopK("twice", once, -0.5)), once))


def convolutions(graph: GraphBuilder, x: str) -> str:
    """Two in one layer, of columns."""
    h = graph.append(Conv("h", Part(x, 3), "taps", "bias", 0, 21, 4, True))
    h = linear(graph, "wide", h, 64)
    y = graph.append(Conv("y", Part(h), "more_taps", None, 0, 64, 3, state="second"))
    return graph.append(Add("z", y, h))


def mamba(graph: GraphBuilder, x: str) -> str:
    z = linear(graph, "z", x, 64)
    bc = linear(graph, "bc", x, 2 * 21)
    parts = (Part(z, 32), Part(bc), Part(bc, 21), Part(linear(graph, "dt", x, 32)), Part(z))
    return graph.append(SelectiveScan("y", *parts, "a", "d", 0, 32, 21))


def mamba2(graph: GraphBuilder, x: str) -> str:
    """Four heads of 24 channels in two groups."""
    bc = linear(graph, "bc", x, 4 * 20)
    parts = (Part(linear(graph, "h", x, 96)), Part(bc), Part(bc, 40), Part(bc, 7))
    return graph.append(Ssd("y", *parts, None, "a", "d", "bias", 0, 4, 24, 2, 20))


CASES: dict[str, Make] = {
    **{f"glu {act}": lambda g, x, act=act: glu(g, x, act) for act in GLU_ACTS},
    **{name: lambda g, x, name=name: function(g, x, name) for name in get_args(Function)},
    "columns": columns,
    "convolutions": convolutions,
    "gates": gates,
    "heads": heads,
    "mamba": mamba,
    "mamba2": mamba2,
    "positions": positions,
    "sparse": sparse,
    "streams": streams,
    "sinks": lambda g, x: attention(g, x, sinks="sinks"),
    "alibi": lambda g, x: attention(g, x, max_bias=8.0),
    "learned": lambda g, x: attention(g, x, rel_bias="bias", n_buckets=8),
    "chunks": lambda g, x: attention(g, x, window=50, chunked=True),
    "all": lambda g, x: attention(
        g, x, window=50, chunked=True, sinks="sinks", max_bias=8.0, softcap=3.0
    ),
    "cache of another layer": of_another_layer,
}


def quantized(tensors: Mapping[str, QTensor]) -> dict[str, QTensor]:
    """With the matrices whose rows are whole blocks in Q8_0."""
    kind, found = QTYPES["Q8_0"], dict(tensors)
    assert kind.quantize is not None
    for name, tensor in tensors.items():
        if len(tensor.shape) > 1 and tensor.shape[-1] % 32 == 0:
            blocks = kind.quantize(tensor.dequantize().reshape(-1, 32))
            found[name] = replace(tensor, qtype=kind, source=blocks.reshape(-1))
    return found


@pytest.mark.parametrize("name", CASES)
def test_beside_the_reference(name: str) -> None:
    graph = graph_of(CASES[name])
    plain = tensors_of(graph)
    if "a" in plain:  # states decay
        values = np.exp(plain["a"].dequantize())
        plain["a"] = replace(plain["a"], source=(-values).view(np.uint8).reshape(-1))
    for tensors, bound in ((plain, 1e-9), (quantized(plain), 3e-3)):
        changes = {"kv_type": "f32", "capacities": (8,) * len(graph.states)}
        with closing(prepare(reference, (graph, tensors), **changes)) as exact:
            want = chunks(exact, graph, 140)
        got = set()
        for n_threads in (1, 3):
            with closing(prepare(cpu, (graph, tensors), n_threads=n_threads, **changes)) as model:
                for size in (140, 33, 7, 1):
                    logits = chunks(model, graph, size)
                    assert nmse(logits, want) <= bound
                    got.add(logits.tobytes())
        assert len(got) == 1


def chunks(model, graph: Graph, size: int):
    """Logits after every token."""
    return in_chunks(model, TOKENS, size, states=graph.states)


def test_capped_logits_take_no_memory() -> None:
    """The last matmul writes them to where they are wanted, and so do the ops behind it."""
    graph = graph_of(lambda _, x: x, cap=2.0)
    tensors = tensors_of(graph)
    with (
        closing(prepare(reference, (graph, tensors), kv_type="f32")) as exact,
        closing(prepare(cpu, (graph, tensors), kv_type="f32")) as model,
    ):
        assert model.recorder.plan.placed == {"logits", "half", "capped"}
        want = chunks(exact, graph, 140)
        assert np.abs(want).max() > 0.5
        assert nmse(chunks(model, graph, 140), want) <= 1e-9
        assert chunks(model, graph, 140).tobytes() == chunks(model, graph, 9).tobytes()


@pytest.mark.parametrize("backend", [cpu, reference])
def test_no_position_lies_behind_the_learned_ones(backend) -> None:
    graph = graph_of(positions)
    model = graph, tensors_of(graph)
    prepare(backend, model, n_ctx=N_POSITIONS).close()
    with pytest.raises(InputError, match="n_ctx is 385, positions has 384 positions; ask for"):
        prepare(backend, model, n_ctx=N_POSITIONS + 1)


def test_values_in_keys_take_no_memory() -> None:
    """DeepSeek's latent attention keeps 576 values of a position in each of these layers."""
    group = KV((0, 1, 2), k_width=576, v_width=512, n_kv_heads=1, v_in_k=True)
    assert kv_bytes((group,), "f16", 1) == 3 * 576 * 2
    assert kv_bytes((replace(group, v_in_k=False),), "f16", 1) == 3 * (576 + 512) * 2

"""Low-rank adapters beside merged weights, and rows that share a step with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from adapters import Pairs, adapted, is_matrix, merged, pairs_of
from kernels import nmse
from steps import Logits, Model, logits_of, prepare, segment, step
from tiny_models import metadata_of, tensors_of
from tiny_parts import N_CTX, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu, reference
from qrt.backends.base import Executor
from qrt.errors import InputError
from qrt.formats.qtensor import QTensor
from qrt.formats.quants.q8_0 import Q8_0
from qrt.graph.batch import NO_PAGE
from qrt.graph.graph import Graph

EXPERTS = ("llama@experts", "gpt-oss", "llama4")


def may_be_adapted(name: str) -> bool:
    return is_matrix(name) and not name.startswith(("position", "altup_")) and "conv" not in name


def model_of(name: str) -> Model:
    tensors = tensors_of(name)
    return build_graph(metadata_of(name), tensors, name, N_CTX), tensors


def reference_logits(graph: Graph, tensors: Mapping[str, QTensor]) -> Logits:
    return logits_of(reference, (graph, tensors), TOKENS, n_ctx=N_CTX, kv_type="f32")


def whole(model: Model, backend: object = cpu, **changes: object) -> Executor:
    n_groups = len(model[0].states)
    settings = {"kv_type": "f32", "n_ctx": N_CTX, "capacities": (8,) * n_groups}
    return prepare(backend, model, **settings | changes)


def run(executor: Executor, graph: Graph, *rows: tuple[int, tuple[float, ...]]) -> list[Logits]:
    """The logits of prompts beside each other: how long each is, and its scales."""
    parts = []
    for number, (n, scales) in enumerate(rows):
        tables = [([] if group.kind == "kv" else [NO_PAGE]) + [number] for group in graph.states]
        one = segment(TOKENS[:n])
        arrays = tuple(np.array(table, np.int32) for table in tables)
        parts.append(replace(one, tables=arrays, scales=scales))
    ends = np.cumsum([n for n, _ in rows])[:-1]
    return np.split(step(executor, *parts), ends)


@pytest.mark.parametrize(
    ("name", "rank", "alpha"),
    [
        *(("llama", 5, 8.0), ("llama@biases", 16, None), ("qwen3@fused", 33, 33.0)),
        *(("gemma2", 1, -2.0), ("gemma3n", 4, 4.0), ("gpt2", 3, 1.0), ("qwen35", 2, 2.0)),
        *((name, 7, 7.0) for name in EXPERTS),
    ],
)
def test_it_is_as_if_weights_were_merged(name: str, rank: int, alpha: float | None) -> None:
    """With tied embeddings, biases, scales, experts, and norms in between; of either backend."""
    graph, tensors = model_of(name)
    pairs = pairs_of(graph, rank, named=may_be_adapted)
    factor = 0.5 * (1.0 if alpha is None else alpha / rank)
    expected = reference_logits(graph, merged(tensors, [(pairs, factor)]))
    assert nmse(reference_logits(graph, tensors), expected) > 1e-3
    model = adapted(graph, tensors, [(pairs, alpha)])
    for backend in (reference, cpu):
        (got,) = run(whole(model, backend), graph, (len(TOKENS), (0.5,)))
        assert nmse(got, expected) < 1e-6, backend


def test_a_quantized_base_is_adapted_the_same() -> None:
    graph, tensors = model_of("llama")
    tensors = tensors | {
        name: QTensor(
            name, Q8_0, one.shape, Q8_0.quantize(one.dequantize().reshape(-1, 32)).ravel()
        )
        for name, one in tensors.items()
        if is_matrix(name) and name.startswith("blk")
    }
    pairs = pairs_of(graph, 16)
    model = adapted(graph, tensors, [(pairs, 16.0)])
    row = (len(TOKENS), (1.0,))
    expected = reference_logits(graph, merged(tensors, [(pairs, 1.0)]))
    assert nmse(run(whole(model, reference), graph, row)[0], expected) < 1e-6
    of_activations = nmse(
        run(whole((graph, tensors)), graph, (*row[:1], ()))[0], reference_logits(graph, tensors)
    )
    assert nmse(run(whole(model), graph, row)[0], expected) < 4 * of_activations


def two_adapters(graph: Graph) -> list[tuple[Pairs, float]]:
    """Of unlike ranks and weights."""
    return [
        (pairs_of(graph, 5, 1), 5.0),
        (pairs_of(graph, 18, 2, lambda name: is_matrix(name) and "ffn_up" not in name), 9.0),
    ]


@pytest.mark.parametrize("name", ["llama", "gpt-oss"])
def test_rows_of_one_step_use_what_they_ask_for(name: str) -> None:
    """Many rows and few, in any company, on any number of threads: the bits of each alone."""
    graph, tensors = model_of(name)
    every = two_adapters(graph)
    both = adapted(graph, tensors, every)
    wanted = [(0.0, 0.0), (1.0, 0.0), (0.0, -0.5), (0.25, 2.0), (), (1.0, 0.0)]
    rows = [(n, scales) for n, scales in zip((3, 9, 2, 13, 6, 40), wanted, strict=True)]
    alone = [run(whole(both), graph, one)[0] for one in rows]
    for n_threads in (1, 3):
        executor = whole(both, n_threads=n_threads)
        for together in (rows, rows[:4]):
            for got, expected in zip(run(executor, graph, *together), alone, strict=False):
                np.testing.assert_array_equal(got, expected)
    plain = run(whole((graph, tensors)), graph, *((n, ()) for n, _ in rows))
    for i in (0, 4):
        np.testing.assert_array_equal(alone[i], plain[i])
    first, second = (adapted(graph, tensors, [one]) for one in every)
    np.testing.assert_array_equal(run(whole(first), graph, (9, (1.0,)))[0], alone[1])
    np.testing.assert_array_equal(run(whole(second), graph, (2, (-0.5,)))[0], alone[2])
    assert nmse(alone[1][:2], plain[1][:2]) > 1e-3


@pytest.mark.parametrize("name", ["llama@biases", "llama@experts"])
def test_the_bits_do_not_depend_on_chunks(name: str) -> None:
    graph, tensors = model_of(name)
    model = adapted(graph, tensors, two_adapters(graph))
    n_groups, found = len(graph.states), []
    for chunk in (40, 1, 7):
        executor, parts = whole(model), []
        for at in range(0, len(TOKENS), chunk):
            one = segment(TOKENS[at : at + chunk], at)
            one = replace(one, tables=one.tables * n_groups, scales=(0.5, 1.0))
            parts.append(step(executor, one))
        found.append(np.concatenate(parts))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_step_is_told_every_scale_or_none() -> None:
    graph, tensors = model_of("llama")
    executor = whole(adapted(graph, tensors, two_adapters(graph)))
    with pytest.raises(InputError, match="a scale for each of 2 adapters, or none, got 1"):
        run(executor, graph, (3, (1.0,)))

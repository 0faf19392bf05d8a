"""Layers behind a pooled row: scores and vectors are those of llama.cpp and of transformers."""

from __future__ import annotations

import numpy as np
import pytest
from kernels import nmse
from oracles import TESTS
from steps import logits_of
from tiny_heads import HEADED, headed_metadata, headed_tensors
from tiny_parts import N_CTX, TOKENS

from qrt.arch import build_graph
from qrt.backends import cpu
from qrt.runtime.heads import head_weights, through
from qrt.runtime.pooling import Pooled


@pytest.mark.parametrize("name", HEADED)
def test_heads_say_what_those_of_others_do(name: str) -> None:
    tensors = headed_tensors(name)
    graph = build_graph(headed_metadata(name), tensors, "tiny", N_CTX)
    rows = logits_of(cpu, (graph, tensors), TOKENS, kv_type="f32", n_ctx=N_CTX)
    ranking = graph.ranking
    assert graph.pooling is not None
    pooled = Pooled(graph.pooling if ranking is None else ranking.pooling, len(rows))
    pooled.take(rows[pooled.wanted(0, len(rows))])
    heads = graph.dense if ranking is None else ranking.heads
    found = through(heads, head_weights(graph, tensors), pooled.result())
    with np.load(TESTS / "data/heads.npz") as oracles:
        wanted = {by: oracles[by] for by in oracles if by.startswith(f"{name}/")}
    assert f"{name}/llama.cpp" in wanted
    for values in wanted.values():
        assert nmse(found, values) < 1e-6

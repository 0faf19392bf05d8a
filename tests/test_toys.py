"""The seams by what qrt does not have: recurrent layers, latent attention, experts, windows.

Each toy runs through generations, forks, preemption and the verification of drafts, on the
reference backend and, where the CPU has kernels for its ops, there too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np
import pytest
from fakes import N_VOCAB, start, together, tokens
from toys.models import MODELS, ON_CPU, WINDOW, tensors_of

from qrt.backends.base import Settings
from qrt.errors import BackendError
from qrt.graph.batch import PAGE_LEN
from qrt.graph.graph import Graph
from qrt.runtime.engine import Engine
from qrt.runtime.pool import pages_for
from qrt.runtime.steps import Rows

CASES = [(name, "reference") for name in MODELS] + [(name, "cpu") for name in ON_CPU]
PROMPT = np.random.default_rng(1).integers(3, N_VOCAB, 150).tolist()
N_CTX = 512

Make = Callable[..., Engine]


def prepared(graph: Graph, backend: str, n_pages: int, max_rows: int, n_ctx: int = N_CTX) -> Engine:
    settings = Settings(2, (n_pages,) * len(graph.states), max_rows, "f16", n_ctx)
    module = import_module(f"qrt.backends.{backend}")
    executor = module.prepare(graph, tensors_of(graph), settings, lambda *_: None)
    return Engine(executor, graph.states, n_ctx)


@pytest.fixture(params=CASES, ids=lambda case: " on ".join(case))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes engines of one toy on one backend."""
    name, backend = request.param
    graph, engines = MODELS[name](), []

    def one(n_pages: int = 64, max_rows: int = 256) -> Engine:
        engines.append(prepared(graph, backend, n_pages, max_rows))
        return engines[-1]

    yield one
    for engine in engines:
        engine.close()


def test_any_chunks_give_the_bits_of_one_token_at_a_time(make: Make) -> None:
    engine = make()
    expected = engine.append(engine.open(), PROMPT, n_logits=150, chunk=1)
    for chunk in (256, 64, 37):
        got = engine.append(engine.open(), PROMPT, n_logits=150, chunk=chunk)
        assert got.tobytes() == expected.tobytes(), chunk


def test_a_mixed_step_gives_each_row_the_bits_it_has_alone(make: Make) -> None:
    """Two sequences decode, one verifies six rows, a prompt is computed beside them."""
    engine = make()
    depths, counts = (70, 3, 90, 0), (1, 1, 6, 100)
    alone, parts = [], []
    for depth, count in zip(depths, counts, strict=True):
        own = engine.append(engine.open(), PROMPT[: depth + count], n_logits=count)
        seq = engine.open()
        if depth:
            engine.append(seq, PROMPT[:depth])
        wanted = np.arange(count, dtype=np.int32)[:: 1 if count < 50 else 7]
        parts.append(Rows(seq, PROMPT[depth : depth + count], wanted))
        alone.append(own[wanted])
    assert engine.step(parts).tobytes() == np.concatenate(alone).tobytes()
    engine.check_integrity()


def test_a_fork_goes_on_as_two(make: Make) -> None:
    engine = make()
    seq = engine.open()
    engine.append(seq, PROMPT[:100])
    twin = engine.fork(seq)
    tails = [PROMPT[100:140], PROMPT[110:150]]
    got = [
        engine.append(each, tail, n_logits=40, chunk=7)
        for each, tail in zip((seq, twin), tails, strict=True)
    ]
    for tail, logits in zip(tails, got, strict=True):
        alone = engine.append(engine.open(), PROMPT[:100] + tail, n_logits=40)
        assert logits.tobytes() == alone.tobytes()
    engine.check_integrity()


def test_a_rejected_draft_leaves_no_trace(make: Make) -> None:
    engine = make()
    seq = engine.open()
    engine.append(seq, PROMPT[:100])
    drafted = engine.verify(seq, PROMPT[120:126])
    assert len(drafted) == 6
    n_kept = engine.cut(seq, 102)
    assert n_kept in (100, 102)
    rest = [*PROMPT[:100], *PROMPT[120:122], *PROMPT[10:20]]
    got = engine.append(seq, rest[n_kept:], n_logits=10)
    alone = engine.append(engine.open(), rest, n_logits=10)
    assert got.tobytes() == alone.tobytes()


def test_generations_that_take_turns_in_too_few_pages(make: Make) -> None:
    """All end, each as alone, and nothing stays behind; some had to be computed again."""
    prompts = [PROMPT[i : i + 60 + 7 * i] for i in range(8)]
    quiet = make()
    alone = [tokens(start(quiet, prompt, max_tokens=20)) for prompt in prompts]
    engine = make(n_pages=8)
    calls = [lambda p=p: tokens(start(engine, p, max_tokens=20)) for p in prompts]
    assert together(calls) == alone
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages


@pytest.mark.parametrize("name", ON_CPU)
def test_sixty_four_generations_in_a_tenth_of_the_pages_they_need(name: str) -> None:
    graph, n_pages = MODELS[name](), 16
    prompts = [[*PROMPT[i % 7 : i % 7 + 90 + i % 50], 3 + i % 20] for i in range(64)]
    assert sum(pages_for(len(prompt) + 40) for prompt in prompts) >= 10 * n_pages
    quiet = prepared(graph, "cpu", 400, 256)
    alone = [tokens(start(quiet, prompt, max_tokens=40)) for prompt in prompts]
    quiet.close()
    engine = prepared(graph, "cpu", n_pages, 256)
    calls = [lambda p=p: tokens(start(engine, p, max_tokens=40)) for p in prompts]
    assert together(calls) == alone
    engine.check_integrity()
    assert engine.n_free_pages == engine.n_pages
    engine.close()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_window_holds_a_constant_number_of_pages(backend: str) -> None:
    n_positions = 8000 if backend == "cpu" else 1000
    graph = MODELS["all windowed"]()
    engine = prepared(graph, backend, 16, 64, n_ctx=8192)
    seq, held = engine.open(), []
    text = np.random.default_rng(2).integers(0, N_VOCAB, n_positions).tolist()
    for at in range(0, n_positions, 40):
        engine.append(seq, text[at : at + 40])
        held.append(16 - engine.n_free_pages[0])
    assert max(held) <= 2 + (WINDOW + 64) // PAGE_LEN
    assert len(set(held[20:])) <= 2
    last = engine.append(seq, [5])
    again = engine.open()
    engine.append(again, text)
    assert engine.append(again, [5]).tobytes() == last.tobytes()
    engine.close()


def test_the_cpu_says_which_op_it_lacks() -> None:
    with pytest.raises(BackendError, match="no kernel for op 'scan'"):
        prepared(MODELS["mamba"](), "cpu", 8, 64)


def test_a_mixture_counts_the_experts_that_a_token_is_sent_to() -> None:
    graph = MODELS["experts"]()
    shares = graph.shares()
    assert "embed.weight" not in shares
    assert {share for name, share in shares.items() if "_exps" in name} == {0.5}
    assert {share for name, share in shares.items() if "_exps" not in name} == {1.0}
    sizes = {name: math.prod(shape) for name, shape in graph.weights.items()}
    idle = sum(size for name, size in sizes.items() if "_exps" in name) // 2
    assert graph.active_params() == sum(sizes.values()) - idle

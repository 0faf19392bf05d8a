"""Lowering: fusions, forms, memory and barriers, checked byte by byte on a simulated arena."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from qrt.graph.ir import (
    Add,
    Attention,
    Embed,
    Glu,
    Graph,
    Linear,
    Norm,
    Rope,
    RopeSpec,
    Select,
)

from qrt.arch import build_graph
from qrt.formats.gguf import open_gguf
from qrt.graph.builder import GraphBuilder
from qrt.graph.lower import F32, HandOver, Plan, StoreKV, Task, lower

FORMS = {F32: 4.0, "tiles": 4.0, "lines": 2.0}
N_ROWS, N_LOGITS, N_THREADS, TILE = 7, 3, 3, 4
MAX_ROWS = 8
Key = tuple[str, str]


def form_of(weight: str) -> str:
    """Some weights want tiles, some lines, some plain rows."""
    return (*FORMS, "lines")[sum(weight.encode()) % 4]


def words(plan: Plan, graph: Graph, key: Key, row: int) -> NDArray[np.int64]:
    """The 2-byte words of the arena that a row of a value takes up: plain rows lie one behind the
    other, other forms interleave the rows of a tile, 4 bytes of each in turn.
    """
    n_bytes = int(graph.widths[key[0]] * FORMS[key[1]])
    base = plan.slots[key] * MAX_ROWS // 2
    if key[1] == F32:
        return base + row * n_bytes // 2 + np.arange(n_bytes // 2)
    unit, inside = np.divmod(np.arange(n_bytes // 2), 2)
    tile = row // TILE * TILE * n_bytes // 2
    return base + tile + (unit * TILE + row % TILE) * 2 + inside


def reads(task: Task) -> list[Key]:
    match task.op:
        case Embed():
            return []
        case Linear(x=x, weight=weight):
            return [(x, form_of(weight)), *([(task.residual, F32)] if task.residual else [])]
        case Norm(x=x) | Rope(x=x) | Select(x=x) | HandOver(x=x):
            return [(x, F32)]
        case Glu(gate=a, up=b) | Add(a=a, b=b) | StoreKV(k=a, v=b):
            return [(a, F32), (b, F32)]
        case Attention(q=q):
            return [(q, F32)]


def writes(task: Task) -> list[Key]:
    match task.op:
        case StoreKV():
            return []
        case HandOver(out=out):
            return [(out, form) for form in task.forms]
        case op:
            return [(op.out, F32), *((op.out, form) for form in task.forms)]


def thread_of(row: int, n_rows: int) -> int:
    """Rows are dealt out in N_THREADS runs."""
    return next(
        t
        for t in range(N_THREADS)
        if n_rows * t // N_THREADS <= row < n_rows * (t + 1) // N_THREADS
    )


class Arena:
    """Who wrote and read each word since the last barrier, and whose value it holds."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan, self.graph = plan, graph
        n_words = plan.row_bytes * MAX_ROWS // 2
        self.names: dict[tuple[str, str, int], int] = {}
        self.holds = np.zeros(n_words, int)
        self.kv: dict[int, bool] = {}  # layer -> stored before the last barrier
        self.barrier()

    def barrier(self) -> None:
        """Forgets who did what: everyone has arrived."""
        self.wrote = np.full(len(self.holds), -1)
        self.read = np.full(len(self.holds), -1)
        self.kv = dict.fromkeys(self.kv, True)

    def access(self, number: int, task: Task) -> None:
        n_rows = N_LOGITS if task.of_logits else N_ROWS
        alone = isinstance(task.op, Linear | Attention | Select)
        for is_write, keys in ((False, reads(task)), (True, writes(task))):
            for key in keys:
                if key[0] == self.graph.output:
                    continue
                if isinstance(task.op, Select) and not is_write:
                    rows = range(N_ROWS)
                else:
                    rows = range(n_rows)
                for row in rows:
                    who = 100 + number if alone else thread_of(row, n_rows)
                    self.touch(key, row, who, is_write=is_write)
        if isinstance(task.op, StoreKV):
            assert task.op.layer not in self.kv
            self.kv[task.op.layer] = False
        if isinstance(task.op, Attention):
            assert self.kv[task.op.layer], "attends to what others may still store"

    def touch(self, key: Key, row: int, who: int, *, is_write: bool) -> None:
        at = words(self.plan, self.graph, key, row)
        assert at.min() >= 0
        assert at.max() < len(self.holds)
        name = self.names.setdefault((*key, row), len(self.names) + 1)
        assert np.isin(self.wrote[at], (-1, who)).all(), f"{key}: another thread writes it"
        if is_write:
            assert np.isin(self.read[at], (-1, who)).all(), f"{key}: another thread reads it"
            self.holds[at] = name
            self.wrote[at] = who
        else:
            assert (self.holds[at] == name).all(), f"{key}: overwritten before it was read"
            self.read[at] = np.where(np.isin(self.read[at], (-1, who)), who, -2)


def simulate(plan: Plan, graph: Graph, skipped: int | None = None) -> None:
    """Runs a plan on an arena, without the barrier behind task `skipped`."""
    arena = Arena(plan, graph)
    for number, task in enumerate(plan.tasks):
        arena.access(number, task)
        if task.barrier and number != skipped:
            arena.barrier()


def check(graph: Graph) -> Plan:
    """The plan of a graph, after it was simulated."""
    plan = lower(graph, form_of, FORMS)
    simulate(plan, graph)
    assert plan.tasks[-1].barrier
    assert all(offset % 64 == 0 for offset in plan.slots.values())
    return plan


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_models(data: Path, name: str) -> None:
    file = open_gguf(data / "arch" / f"{name}-dense.gguf")
    graph = build_graph(file.metadata, file.tensors, name)
    plan = check(graph)
    peak = 4 * sum(sorted(graph.widths.values())[-8:])
    assert plan.row_bytes <= 2 * peak, "slots are used again"
    residuals = [task.residual for task in plan.tasks if task.residual]
    assert len(residuals) == 2 * graph.n_layers
    assert not any(isinstance(task.op, Add) for task in plan.tasks)


Make = Callable[[GraphBuilder, int, list[str]], str]
SPEC = RopeSpec("neox", 8, (1.0, 0.5, 0.25, 0.125))
WIDTHS = (16, 32, 64)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random ops on random values of three widths; some of them after the choice of rows."""
    builder = GraphBuilder()
    width_of = {"v0": 32}
    builder.embed("v0", "table", 8, 32)
    pick = st.integers(0, 5)
    selected = False
    n_layers = 0
    for i in range(1, draw(st.integers(2, 24))):
        out, kind = f"v{i}", draw(st.integers(0, 9))
        known = list(width_of)[-6:]
        x = known[draw(pick) % len(known)]
        peers = [v for v in known if width_of[v] == width_of[x]]
        y = peers[draw(pick) % len(peers)]
        width = width_of[x]
        if kind <= 3:
            width = draw(st.sampled_from(WIDTHS))
            builder.linear(out, x, f"w{i}", width)
        elif kind == 4:
            builder.norm(out, x, f"n{i}", 1e-5)
        elif kind == 5:
            builder.glu(out, x, y)
        elif kind == 6 and not selected:
            builder.rope(out, x, 8, SPEC)
        elif kind == 7 and not selected:
            builder.attention(out, x, y, y, layer=n_layers, head_dim=8, scale=1.0)
            n_layers += 1
        elif kind == 8 and not selected and i > 3:
            builder.select(out, x)
            selected, width_of = True, {}
        else:
            builder.add(out, x, y)
        width_of[out] = width
    last = list(width_of)[-1]
    if not selected:
        last = builder.select("chosen", last)
    builder.linear("logits", last, "w-out", 8)
    return builder.build("random", n_ctx_train=1, n_layers=n_layers, dim=32)


@given(graphs())
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
def test_random_graphs(graph: Graph) -> None:
    check(graph)


def test_the_checker_sees_a_missing_barrier(data: Path) -> None:
    file = open_gguf(data / "arch" / "qwen3-dense.gguf")
    graph = build_graph(file.metadata, file.tensors, "qwen3")
    plan = lower(graph, form_of, FORMS)
    barriers = [i for i, task in enumerate(plan.tasks[:-1]) if task.barrier]
    assert len(barriers) > 10
    for skipped in barriers:
        with pytest.raises(AssertionError):
            simulate(plan, graph, skipped)


def tasks_of(make: Callable[[GraphBuilder, str], str]) -> list[Task]:
    builder = GraphBuilder()
    x = builder.norm("x", builder.embed("e", "table", 8, 32), "n", 1e-5)
    builder.linear("logits", builder.select("s", make(builder, x)), "w", 8)
    graph = builder.build("small", n_ctx_train=1, n_layers=0, dim=32)
    check(graph)
    return list(lower(graph, lambda _: F32, {F32: 4.0}).tasks)


def test_an_add_joins_the_linear_before_it() -> None:
    for a, b in (("h", "x"), ("x", "h")):
        tasks = tasks_of(lambda g, x, a=a, b=b: g.linear("h", x, "w1", 32) and g.add("y", a, b))
        fused = [task for task in tasks if task.residual]
        assert [(task.op.out, task.residual) for task in fused] == [("y", "x")]
        assert not any(isinstance(task.op, Add) for task in tasks)


def test_an_add_stands_alone_where_its_linear_is_used_again() -> None:
    def twice(g: GraphBuilder, x: str) -> str:
        h = g.linear("h", x, "w1", 32)
        return g.glu("z", g.add("y", x, h), h)

    def itself(g: GraphBuilder, x: str) -> str:
        return g.add("y", g.linear("h", x, "w1", 32), "h")

    def without(g: GraphBuilder, x: str) -> str:
        return g.add("y", x, g.glu("h", x, x))

    for make in (twice, itself, without):
        tasks = tasks_of(make)
        assert any(isinstance(task.op, Add) for task in tasks)
        assert not any(task.residual for task in tasks)


def test_two_linears_summed_make_one_residual() -> None:
    def both(g: GraphBuilder, x: str) -> str:
        return g.add("y", g.linear("h1", x, "w1", 32), g.linear("h2", x, "w2", 32))

    tasks = tasks_of(both)
    assert [task.residual for task in tasks if task.residual] == ["h1"]


def test_forms_are_made_once_by_whoever_can() -> None:
    """A norm writes the forms itself; for the embedding a hand-over does."""
    builder = GraphBuilder()
    e = builder.embed("e", "table", 8, 32)
    n = builder.norm("n", e, "norm", 1e-5)
    h = [builder.linear(f"h{i}", x, w, 32) for i, (x, w) in enumerate(
        [(e, "tiles.a"), (n, "tiles.b"), (n, "lines.c"), (n, "tiles.d"), (n, "f32.e")]
    )]  # fmt: skip
    x = h[0]
    for i, other in enumerate(h[1:]):
        x = builder.glu(f"g{i}", x, other)
    builder.linear("logits", builder.select("s", x), "f32.out", 8)
    graph = builder.build("forms", n_ctx_train=1, n_layers=0, dim=32)
    plan = lower(graph, lambda weight: weight.split(".")[0], FORMS)
    made = [(type(task.op).__name__, task.op.out, task.forms) for task in plan.tasks if task.forms]
    assert made == [("HandOver", "e", ("tiles",)), ("Norm", "n", ("tiles", "lines"))]

"""Lowering: fusions, forms, memory and barriers, checked byte by byte on a simulated arena."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from arena import FORMS, N_EXPERTS, N_USED, check, form_of, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import open_model

from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.lower import F32, Plan, Task, lower
from qrt.graph.op import ROUTED
from qrt.graph.ops.add import Add
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.elementwise import Elementwise
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.expert_linear import ExpertLinear
from qrt.graph.ops.gather import Gather
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.mix import Mix
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.receive import Receive
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.route import Route
from qrt.graph.ops.scatter import Scatter
from qrt.graph.ops.select import Select
from qrt.graph.ops.temper import Temper


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_models(data: Path, name: str) -> None:
    graph, _ = open_model(data / "arch" / f"{name}-dense.gguf")
    plan = check(graph)
    peak = 4 * sum(sorted(graph.widths.values())[-8:])
    assert plan.row_bytes <= 2 * peak, "slots are used again"
    residuals = [task.residual for task in plan.tasks if task.residual]
    assert len(residuals) == 2 * graph.n_layers
    assert not any(isinstance(task.op, Add) for task in plan.tasks)
    assert (graph.output, F32) not in plan.slots, "logits are written to where they are wanted"


SPEC = RopeSpec("neox", 8, (1.0, 0.5, 0.25, 0.125))
WIDTHS = (16, 32, 64)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random ops on random values of three widths; some of them after the choice of rows.

    Some begin with hidden states and some end on them, as the parts of a model do.
    """
    builder = GraphBuilder()
    width_of = {"v0": 32}
    starts = Receive("v0", 32) if draw(st.booleans()) else Embed("v0", "table", 8, 32)
    builder.append(starts)
    pick = st.integers(0, 5)
    selected = False
    n_layers = 0
    for i in range(1, draw(st.integers(2, 24))):
        out, kind = f"v{i}", draw(st.integers(0, 12))
        known = list(width_of)[-6:]
        x = known[draw(pick) % len(known)]
        peers = [v for v in known if width_of[v] == width_of[x]]
        y = peers[draw(pick) % len(peers)]
        width = width_of[x]
        if kind <= 3:
            width = draw(st.sampled_from(WIDTHS))
            bias = f"b{i}" if kind == 3 else None
            builder.append(Linear(out, x, f"w{i}", width, bias))
        elif kind == 4:
            builder.append(Norm(out, x, f"n{i}", draw(st.sampled_from((width, 8))), 1e-5))
        elif kind == 5:
            builder.append(Glu(out, x, y))
        elif kind == 6 and not selected:
            builder.append(Rope(out, x, 8, SPEC))
        elif kind == 7 and not selected:
            heads = {"n_heads": width // 8, "n_kv_heads": width // 8, "scale": 1.0}
            v = y if draw(st.booleans()) else None
            builder.attention(out, x, y, v, layer=n_layers, **heads)
            n_layers += 1
        elif kind == 10:
            builder.append(Elementwise(out, x, "silu"))
        elif kind == 11 and not selected:
            builder.append(Temper(out, x, 3, 0.1))
        elif kind == 12:
            n_in, width = width // 16, 16
            builder.append(Mix(out, x, n_in, (0.5,) * n_in))
        elif kind == 8 and not selected and i > 3:
            builder.append(Select(out, x))
            selected, width_of = True, {}
        else:
            builder.append(Add(out, x, y))
        width_of[out] = width
    if draw(st.booleans()):
        graph = builder.build("random", n_ctx_train=1, dim=32)
        if not selected:
            graph = replace(graph, output=draw(st.sampled_from(list(width_of)[-3:])))
        return graph
    last = list(width_of)[-1]
    if not selected:
        last = builder.append(Select("chosen", last))
    last = builder.append(Linear("logits", last, "w-out", 8))
    for i in range(draw(st.integers(0, 2))):
        last = builder.append(Elementwise(f"capped{i}", last, "softcap", 2.0))
    return builder.build("random", n_ctx_train=1, dim=32)


@given(graphs())
@settings(max_examples=300, derandomize=True, deadline=None, database=None)
def test_random_graphs(graph: Graph) -> None:
    check(graph)


def test_the_checker_sees_a_missing_barrier(data: Path) -> None:
    graph, _ = open_model(data / "arch" / "qwen3-dense.gguf")
    plan = lower(graph, form_of, FORMS)
    barriers = [i for i, task in enumerate(plan.tasks[:-1]) if task.barrier]
    assert len(barriers) > 10
    for skipped in barriers:
        with pytest.raises(AssertionError):
            simulate(plan, graph, skipped)


def test_the_checker_sees_an_op_that_keeps_a_read_to_itself(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = open_model(data / "arch" / "llama-dense.gguf")
    monkeypatch.setattr(Glu, "reads", property(lambda op: (op.gate,)))
    with pytest.raises(AssertionError):
        check(graph)


def test_experts() -> None:
    """Routed rows, beside a shared expert and with other ops between."""

    def make(builder: GraphBuilder, x: str) -> str:
        logits = builder.append(Linear("router", x, "w-router", N_EXPERTS))
        route = builder.append(Route("route", logits, N_EXPERTS, N_USED))
        sizes = (N_EXPERTS, N_USED)
        h = builder.append(Gather("taken", x, route, *sizes))
        gate, up = (
            builder.append(ExpertLinear(name, h, route, f"w-{name}", *sizes, 24))
            for name in ("gate", "up")
        )
        h = builder.append(Glu("glu", gate, up))
        h = builder.append(ExpertLinear("down", h, route, "w-down", *sizes, 32))
        h = builder.append(Scatter("experts", h, route, *sizes))
        shared = builder.append(Linear("shared", x, "w-shared", 32))
        return builder.append(Add("sum", h, shared))

    tasks = tasks_of(make)
    routed = [task.op.out for task in tasks if task.rows == ROUTED]
    assert routed == ["taken", "gate", "up", "glu", "down"]
    first = next(i for i, task in enumerate(tasks) if task.op.out == "gate")
    assert not tasks[first].barrier
    assert tasks[first + 1].barrier


def plan_of(make: Callable[[GraphBuilder, str], str]) -> Plan:
    builder = GraphBuilder()
    x = builder.append(Norm("x", builder.append(Embed("e", "table", 8, 32)), "n", 32, 1e-5))
    builder.append(Linear("logits", builder.append(Select("s", make(builder, x))), "w", 8))
    graph = builder.build("small", n_ctx_train=1, dim=32)
    check(graph)
    return lower(graph, lambda _: F32, {F32: 4.0})


def tasks_of(make: Callable[[GraphBuilder, str], str]) -> list[Task]:
    return list(plan_of(make).tasks)


def test_an_add_joins_the_linear_before_it() -> None:
    for a, b in (("h", "x"), ("x", "h")):
        tasks = tasks_of(
            lambda g, x, a=a, b=b: g.append(Linear("h", x, "w1", 32)) and g.append(Add("y", a, b))
        )
        fused = [task for task in tasks if task.residual]
        assert [(task.op.out, task.residual) for task in fused] == [("y", "x")]
        assert not any(isinstance(task.op, Add) for task in tasks)


def test_an_add_stands_alone_where_its_linear_is_used_again() -> None:
    def twice(g: GraphBuilder, x: str) -> str:
        h = g.append(Linear("h", x, "w1", 32))
        return g.append(Glu("z", g.append(Add("y", x, h)), h))

    def itself(g: GraphBuilder, x: str) -> str:
        return g.append(Add("y", g.append(Linear("h", x, "w1", 32)), "h"))

    def without(g: GraphBuilder, x: str) -> str:
        return g.append(Add("y", x, g.append(Glu("h", x, x))))

    for make in (twice, itself, without):
        tasks = tasks_of(make)
        assert any(isinstance(task.op, Add) for task in tasks)
        assert not any(task.residual for task in tasks)


def test_two_linears_summed_make_one_residual() -> None:
    def both(g: GraphBuilder, x: str) -> str:
        h1, h2 = (g.append(Linear(f"h{i}", x, f"w{i}", 32)) for i in (1, 2))
        return g.append(Add("y", h1, h2))

    tasks = tasks_of(both)
    assert [task.residual for task in tasks if task.residual] == ["h1"]


def test_forms_are_made_once_by_whoever_can() -> None:
    """A norm writes the forms itself; for the embedding a hand-over does."""
    builder = GraphBuilder()
    e = builder.append(Embed("e", "table", 8, 32))
    n = builder.append(Norm("n", e, "norm", 32, 1e-5))
    h = [builder.append(Linear(f"h{i}", x, w, 32)) for i, (x, w) in enumerate(
        [(e, "tiles.a"), (n, "tiles.b"), (n, "lines.c"), (n, "tiles.d"), (n, "f32.e")]
    )]  # fmt: skip
    x = h[0]
    for i, other in enumerate(h[1:]):
        x = builder.append(Glu(f"g{i}", x, other))
    builder.append(Linear("logits", builder.append(Select("s", x)), "f32.out", 8))
    graph = builder.build("forms", n_ctx_train=1, dim=32)
    plan = lower(graph, lambda weight: weight.split(".")[0], FORMS)
    made = [(type(task.op).__name__, task.op.out, task.forms) for task in plan.tasks if task.forms]
    assert made == [("HandOver", "e", ("tiles",)), ("Norm", "n", ("tiles", "lines"))]


def test_ops_that_share_scratch_memory_do_not_meet() -> None:
    """Two attentions to one layer read the same and write apart: only their scratch is common."""
    builder = GraphBuilder()
    x = builder.append(Embed("e", "table", 8, 32))
    heads = {"n_heads": 4, "n_kv_heads": 4, "scale": 1.0}
    a = builder.attention("a", x, x, x, layer=0, **heads)
    b = builder.append(Attention("b", x, 0, 4, 4, 8, 8, 1.0))
    builder.append(
        Linear("logits", builder.append(Select("s", builder.append(Add("c", a, b)))), "w", 8)
    )
    graph = builder.build("shared", n_ctx_train=1, dim=32)
    tasks = check(graph).tasks
    assert [task.barrier for task in tasks if isinstance(task.op, Attention)] == [True, True]


def test_a_value_that_one_op_reads_gives_its_place_to_the_result() -> None:
    def chain(g: GraphBuilder, x: str) -> str:
        h = g.append(Linear("h", x, "w1", 64))
        a = g.append(Elementwise("a", h, "scale", 2.0))
        b = g.append(Temper("b", a, 3, 0.1))
        return g.append(Linear("y", g.append(Elementwise("c", b, "silu")), "w2", 32))

    def read_twice(g: GraphBuilder, x: str) -> str:
        h = g.append(Linear("h", x, "w1", 32))
        return g.append(Add("y", g.append(Elementwise("a", h, "silu")), h))

    chained, twice = plan_of(chain), plan_of(read_twice)
    places = [chained.slots[value, F32] for value in "habc"]
    assert len(set(places)) == 1
    assert twice.slots["a", F32] != twice.slots["h", F32]


def test_ops_behind_the_output_work_where_it_is_wanted() -> None:
    graph = capped()
    plan = check(graph)
    assert plan.placed == {"logits", "half", "capped"}
    assert plan.row_bytes < 4 * graph.n_vocab
    barriers = {task.op.out: task.barrier for task in plan.tasks}
    assert barriers["logits"], "panels become rows"
    assert not barriers["half"], "rows stay rows"
    kept = check(replace(graph, output="logits"))
    assert kept.placed == frozenset(), "read again, it must stay"


def capped() -> Graph:
    """Wide logits that are halved, then capped."""
    builder = GraphBuilder()
    x = builder.append(Select("s", builder.append(Embed("e", "table", 1000, 32))))
    logits = builder.append(Linear("logits", x, "w", 1000))
    half = builder.append(Elementwise("half", logits, "scale", 0.5))
    builder.append(Elementwise("capped", half, "softcap", 2.0))
    return builder.build("capped", n_ctx_train=1, dim=32)

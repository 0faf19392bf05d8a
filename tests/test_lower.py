"""Lowering: fusions, forms, memory and barriers, checked byte by byte on a simulated arena."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from arena import FORMS, check, form_of, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import open_model

<<<<<<< HEAD
from qrt.backends.reference.ops import run
from qrt.backends.reference.step import Pages, Step
from qrt.graph.batch import PAGE_LEN, Batch, Segment
=======
>>>>>>> h-tests
from qrt.graph.builder import GraphBuilder
from qrt.graph.graph import Graph
from qrt.graph.lower import F32, Task, lower
from qrt.graph.ops.add import Add
from qrt.graph.ops.attention import Attention
from qrt.graph.ops.embed import Embed
from qrt.graph.ops.glu import Glu
from qrt.graph.ops.linear import Linear
from qrt.graph.ops.norm import Norm
from qrt.graph.ops.receive import Receive
from qrt.graph.ops.rope import Rope, RopeSpec
from qrt.graph.ops.select import Select
<<<<<<< HEAD
from qrt.graph.state import KV

FORMS = {F32: 4.0, "tiles": 4.0, "lines": 2.0}
N_ROWS, N_LOGITS, N_THREADS, TILE = 7, 3, 3, 4
MAX_ROWS = 8
SEGMENT = Segment(
    np.arange(N_ROWS, dtype=np.int32), 0, (np.zeros(1, np.int32),), np.array([1, 2, 5], np.int32)
)
Key = tuple[str, str]


def form_of(weight: str) -> str:
    """Some weights want tiles, some lines, some plain rows."""
    return (*FORMS, "lines")[sum(weight.encode()) % 4]


class Asked(dict[Any, Any]):
    """A mapping that makes its items when it is asked for them, and remembers for which."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        self[key] = self._make(key)
        return self[key]


def observe(op: Op, graph: Graph, n_rows: int, other_row: int | None = None) -> tuple[Step, Any]:
    """A step in which the reference ran `op` on random values, and the value that it made.

    With `other_row`, that row of every value that it reads is another one.
    """

    def value(name: str) -> NDArray[np.float64]:
        rng = np.random.default_rng(sum(name.encode()))
        rows = rng.normal(size=(n_rows, graph.widths[name]))
        if other_row is not None:
            rows[other_row] += 1.0
        return rows

    def weight(name: str) -> NDArray[np.float64]:
        rng = np.random.default_rng(sum(name.encode()))
        return rng.normal(size=graph.weights[name])

    def pages(layer: int) -> Pages:
        group = graph.states[graph.group_of(KV.kind, layer)]
        assert isinstance(group, KV)
        k, v = (
            np.ones((1, PAGE_LEN, group.n_kv_heads, width))
            for width in (group.k_width, group.v_width)
        )
        return Pages(k, v, np.array, np.array)

    hidden = np.ones((N_ROWS, graph.dim), np.float32)
    batch = Batch((replace(SEGMENT, tables=SEGMENT.tables * len(graph.states)),))
    step = Step(graph, batch, Asked(weight), Asked(pages), {}, hidden, Asked(value))
    return step, run(step, op)


def check_op(op: Op, graph: Graph, rows_of: dict[str, str]) -> None:
    """What an op says of itself is what the reference backend does with it."""
    rows = {name: N_ROWS if where == ALL else N_LOGITS for name, where in rows_of.items()}
    n_rows = rows[op.reads[0]] if op.reads else N_ROWS
    step, made = observe(op, graph, n_rows)
    assert set(step.values) == set(op.reads)
    uses = op.weights(graph.widths)
    assert {use.name: use.shape for use in uses} == {n: w.shape for n, w in step.weights.items()}
    assert set(step.pages) == {layer for _, layer in (*op.state_reads, *op.state_writes)}
    for _, layer in op.state_writes:
        assert (step.pages[layer].k != 1).any()
    assert (made is None) == (op.out is None)
    if op.out is None:
        return
    where = op.rows(rows_of)
    assert made.shape == (N_ROWS if where == ALL else N_LOGITS, graph.widths[op.out])
    assert op.width(graph.widths) == graph.widths[op.out]
    if op.share == "rows":  # a thread that has its rows of what is read needs nothing else
        _, again = observe(op, graph, n_rows, other_row=1)
        assert np.delete(again, 1, axis=0).tobytes() == np.delete(made, 1, axis=0).tobytes()


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


def true_reads(task: Task, graph: Graph, n_rows: int) -> Iterator[Key]:
    """What the reference reads, each matmul's input in the form of its weight."""
    if isinstance(task.op, HandOver):
        yield task.op.x, F32
        return
    step, _ = observe(task.op, graph, n_rows)
    forms = {use.x: form_of(use.name) for use in task.op.weights(graph.widths) if use.x}
    for name in step.values:
        yield name, forms.get(name, F32)
    if task.residual:
        yield task.residual, F32


def writes(task: Task) -> Iterator[Key]:
    if task.op.out is not None:
        forms = task.forms if isinstance(task.op, HandOver) else (F32, *task.forms)
        yield from ((task.op.out, form) for form in forms)


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
        self.rows_of: dict[str, int] = {}
        self.holds = np.zeros(n_words, int)
        self.kv: dict[int, bool] = {}  # layer -> stored before the last barrier
        self.scratch: set[str] = set()  # in use since the last barrier
        self.barrier()

    def barrier(self) -> None:
        """Forgets who did what: everyone has arrived."""
        self.wrote = np.full(len(self.holds), -1)
        self.read = np.full(len(self.holds), -1)
        self.kv = dict.fromkeys(self.kv, True)
        self.scratch = set()

    def access(self, number: int, task: Task) -> None:
        op = task.op
        n_read = self.rows_of[op.reads[0]] if op.reads else N_ROWS
        n_rows = N_LOGITS if task.of_logits else N_ROWS
        reads = tuple(true_reads(task, self.graph, n_read))
        for is_write, keys, n in ((False, reads, n_read), (True, writes(task), n_rows)):
            for key in keys:
                if key not in self.plan.slots:
                    assert key == (self.graph.output, F32)
                    continue
                for row in range(n):
                    who = thread_of(row, n) if op.share == "rows" else 100 + number
                    self.touch(key, row, who, is_write=is_write)
        if op.out is not None:
            self.rows_of[op.out] = n_rows
        for _, layer in op.state_writes:
            assert layer not in self.kv
            self.kv[layer] = False
        for _, layer in op.state_reads:
            assert self.kv[layer], "attends to what others may still store"
        if op.scratch is not None:
            assert op.scratch not in self.scratch, "shares its memory with an op before"
            self.scratch.add(op.scratch)

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

    def check_output(self) -> None:
        """The output is either where the step wants it, or stands to the end."""
        key, made_by = (self.graph.output, F32), {task.op.out: task.op for task in self.plan.tasks}
        if key not in self.plan.slots:
            assert isinstance(made_by[self.graph.output], Linear)
            return
        for row in range(self.rows_of[self.graph.output]):
            assert (
                self.holds[words(self.plan, self.graph, key, row)] == self.names[*key, row]
            ).all()


def simulate(plan: Plan, graph: Graph, skipped: int | None = None) -> None:
    """Runs a plan on an arena, without the barrier behind task `skipped`."""
    arena = Arena(plan, graph)
    for number, task in enumerate(plan.tasks):
        arena.access(number, task)
        if task.barrier and number != skipped:
            arena.barrier()
    arena.check_output()


def check(graph: Graph) -> Plan:
    """The plan of a graph, after its ops were checked and it was simulated."""
    rows_of: dict[str, str] = {}
    for op in graph.ops:
        check_op(op, graph, rows_of)
        if op.out is not None:
            rows_of[op.out] = op.rows(rows_of)
    plan = lower(graph, form_of, FORMS)
    simulate(plan, graph)
    assert plan.tasks[-1].barrier
    assert all(offset % 64 == 0 for offset in plan.slots.values())
    return plan
=======
>>>>>>> h-tests


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
        out, kind = f"v{i}", draw(st.integers(0, 9))
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
    builder.append(Linear("logits", last, "w-out", 8))
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


def tasks_of(make: Callable[[GraphBuilder, str], str]) -> list[Task]:
    builder = GraphBuilder()
    x = builder.append(Norm("x", builder.append(Embed("e", "table", 8, 32)), "n", 32, 1e-5))
    builder.append(Linear("logits", builder.append(Select("s", make(builder, x))), "w", 8))
    graph = builder.build("small", n_ctx_train=1, dim=32)
    check(graph)
    return list(lower(graph, lambda _: F32, {F32: 4.0}).tasks)


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

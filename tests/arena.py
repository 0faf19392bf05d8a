"""Plans of a graph run on a simulated arena, and ops beside what they say of themselves.

What an op reads is what the reference backend asks for when it runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.backends.reference.ops import run
from qrt.backends.reference.step import Pages, Step
from qrt.graph.batch import PAGE_LEN, Batch, Segment
from qrt.graph.graph import Graph
from qrt.graph.lower import F32, Plan, Task, lower
from qrt.graph.op import ALL, LOGITS, ROUTED, Op
from qrt.graph.ops.hand_over import HandOver
from qrt.graph.ops.linear import Linear
from qrt.graph.state import KV

FORMS = {F32: 4.0, "tiles": 4.0, "lines": 2.0}
N_ROWS, N_LOGITS, N_THREADS, TILE = 7, 3, 3, 4
MAX_ROWS, N_USED, N_EXPERTS = 8, 2, 3
ROWS = {ALL: N_ROWS, LOGITS: N_LOGITS, ROUTED: N_ROWS * N_USED}
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


def observe(
    op: Op, graph: Graph, rows: Mapping[str, int], other_row: int | None = None
) -> tuple[Step, Any]:
    """A step in which the reference ran `op` on random values, and the value that it made.

    `rows` are those of each value. With `other_row`, that row of every value read is another one.
    """

    def value(name: str) -> NDArray[np.float64]:
        rng = np.random.default_rng(sum(name.encode()))
        made = rng.normal(size=(rows[name], graph.widths[name]))
        if op.looks_up is not None and name == op.reads[1]:
            made[:, :N_USED] = rng.permuted(np.tile(np.arange(N_EXPERTS), (N_ROWS, 1)), axis=1)[
                :, :N_USED
            ]
        if other_row is not None:
            made[other_row] += 1.0
        return made

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
    rows = {name: ROWS[where] for name, where in rows_of.items()}
    step, made = observe(op, graph, rows)
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
    assert made.shape == (ROWS[where], graph.widths[op.out])
    assert op.width(graph.widths) == graph.widths[op.out]
    if op.share == "rows":  # a thread that has its rows of what is read needs nothing else
        _, again = observe(op, graph, rows, other_row=1)
        assert np.delete(again, 1, axis=0).tobytes() == np.delete(made, 1, axis=0).tobytes()


def words(slots: dict[Key, int], graph: Graph, key: Key, row: int) -> NDArray[np.int64]:
    """The 2-byte words of the arena that a row of a value takes up: plain rows lie one behind the
    other, other forms interleave the rows of a tile, 4 bytes of each in turn.
    """
    n_bytes = int(graph.widths[key[0]] * FORMS[key[1]])
    base = slots[key] * MAX_ROWS // 2
    if key[1] == F32:
        return base + row * n_bytes // 2 + np.arange(n_bytes // 2)
    unit, inside = np.divmod(np.arange(n_bytes // 2), 2)
    tile = row // TILE * TILE * n_bytes // 2
    return base + tile + (unit * TILE + row % TILE) * 2 + inside


def true_reads(task: Task, graph: Graph, rows: Mapping[str, int]) -> Iterator[Key]:
    """What the reference reads, each matmul's input in the form of its weight."""
    if isinstance(task.op, HandOver):
        yield task.op.x, F32
        return
    step, _ = observe(task.op, graph, rows)
    forms = {use.x: form_of(use.name) for use in task.op.weights(graph.widths) if use.x}
    for name in step.values:
        yield name, forms.get(name, F32)
    if task.residual:
        yield task.residual, F32


def writes(task: Task) -> Iterator[Key]:
    if task.op.out is not None:
        forms = task.forms if task.op.forms_alone else (F32, *task.forms)
        yield from ((task.op.out, form) for form in forms)


def thread_of(row: int, n_rows: int) -> int:
    """Rows are dealt out in N_THREADS runs."""
    return next(
        t
        for t in range(N_THREADS)
        if n_rows * t // N_THREADS <= row < n_rows * (t + 1) // N_THREADS
    )


class Arena:
    """Who wrote and read each word since the last barrier, and whose value it holds.

    The place where the step wants the output lies behind all slots.
    """

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.graph = graph
        self.slots = plan.slots | {(value, F32): plan.row_bytes for value in plan.placed}
        assert len(self.slots) == len(plan.slots) + len(plan.placed)
        n_words = (plan.row_bytes + 4 * graph.widths[graph.output]) * MAX_ROWS // 2
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
        n_rows = ROWS[task.rows]
        reads = tuple(true_reads(task, self.graph, self.rows_of))
        for is_write, keys in ((False, reads), (True, writes(task))):
            for key in keys:
                n = n_rows if is_write else self.rows_of[key[0]]
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
        assert op.looks_up not in self.scratch, "looks up what others may still write"
        if op.scratch is not None:
            assert op.scratch not in self.scratch, "shares its memory with an op before"
            self.scratch.add(op.scratch)

    def touch(self, key: Key, row: int, who: int, *, is_write: bool) -> None:
        at = words(self.slots, self.graph, key, row)
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
        """The output stands to the end."""
        key = self.graph.output, F32
        for row in range(self.rows_of[self.graph.output]):
            at = words(self.slots, self.graph, key, row)
            assert (self.holds[at] == self.names[*key, row]).all()


def simulate(plan: Plan, graph: Graph, skipped: int | None = None) -> None:
    """Runs a plan on an arena, without the barrier behind task `skipped`."""
    arena = Arena(plan, graph)
    for number, task in enumerate(plan.tasks):
        arena.access(number, task)
        if task.barrier and number != skipped:
            arena.barrier()
    arena.check_output()
    makers = {task.op.out: task.op for task in plan.tasks}
    for value in plan.placed:
        maker = makers[value]
        assert isinstance(maker, Linear) or maker.reads[0] in plan.placed


def check(graph: Graph) -> Plan:
    """The plan of a graph, after its ops were checked and it was simulated."""
    rows_of: dict[str, str] = {}
    for op in graph.ops:
        check_op(op, graph, rows_of)
        if op.out is not None:
            rows_of[op.out] = op.rows(rows_of)
    plan = lower(graph, form_of, FORMS, N_USED)
    simulate(plan, graph)
    assert plan.tasks[-1].barrier
    assert all(offset % 64 == 0 for offset in plan.slots.values())
    return plan

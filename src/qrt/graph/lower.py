"""Lowers a graph to a plan: fusions, the forms each value is needed in, memory slots and barriers.

Pure data to pure data: nothing here knows kernels or addresses, nor any op but Add and HandOver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from qrt.graph.graph import Graph
from qrt.graph.op import LOGITS, ROUTED, Op
from qrt.graph.ops.add import Add
from qrt.graph.ops.hand_over import HandOver

F32 = "f32"
"""The form that every value has; other forms are what some weights want their input in."""


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a plan.

    `residual` is added to the op's result. `forms` are the forms beyond F32 that `out` is written
    in. `rows` is the row set it runs on. `barrier`: all threads must be done with it before the
    next task starts.
    """

    op: Op
    residual: str | None = None
    forms: tuple[str, ...] = ()
    rows: str = ""
    barrier: bool = True

    @property
    def reads(self) -> tuple[str, ...]:
        """The values that it reads."""
        return self.op.reads if self.residual is None else (*self.op.reads, self.residual)

    @property
    def of_logits(self) -> bool:
        """Whether it runs on the rows whose logits were asked for."""
        return self.rows == LOGITS


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks in order, and where each (value, form) lies: `slots` -> offset in bytes per row.

    `placed` have none, they lie where the step wants the output: the output itself, if the op that
    makes it can do so, and what it overwrites.
    """

    tasks: tuple[Task, ...]
    slots: dict[tuple[str, str], int]
    placed: frozenset[str]
    row_bytes: int  # of all slots together


FormOf = Callable[[str], str]
"""The form in which the weight of this name wants its input: F32 or another."""


def lower(graph: Graph, form_of: FormOf, form_bytes: dict[str, float], routed: int = 1) -> Plan:
    """The plan of `graph`; `form_bytes` are the bytes per value of every form, `routed` how many
    routed rows there may be for each row of a step.
    """
    tasks = _in_forms(_with_residuals(graph), graph, form_of)
    tasks = _on_row_sets(tasks)
    overwritten = _overwritten(tasks, graph)
    placed = _placed(tasks, graph, overwritten)
    slots, row_bytes = _slots(tasks, graph, form_bytes, routed, overwritten, placed)
    return Plan(_with_barriers(tasks, graph, slots), slots, placed, row_bytes)


def _with_residuals(graph: Graph) -> list[Task]:
    """An op that can takes on the Add behind it."""
    uses: dict[str, int] = {graph.output: 1}  # by whoever takes the step's output
    for op in graph.ops:
        for value in op.reads:
            uses[value] = uses.get(value, 0) + 1
    made_by: dict[str, int] = {}
    tasks: list[Task | None] = []
    for op in graph.ops:
        if isinstance(op, Add) and (fused := _fusable(op, tasks, made_by, uses)) is not None:
            position, residual = fused
            before = tasks[position]
            assert before is not None
            tasks[position] = None
            tasks.append(Task(replace(before.op, out=op.out), residual=residual))  # type: ignore[type-var]
        else:
            tasks.append(Task(op))
        if op.out is not None:
            made_by[op.out] = len(tasks) - 1
    return [task for task in tasks if task is not None]


def _fusable(
    op: Add, tasks: list[Task | None], made_by: dict[str, int], uses: dict[str, int]
) -> tuple[int, str] | None:
    """The op that alone feeds this Add and can take it on, and the other summand."""
    for value, other in ((op.b, op.a), (op.a, op.b)):
        task = tasks[made_by[value]]
        plain = task is not None and task.op.takes_residual and task.residual is None
        if plain and uses[value] == 1 and value != other:
            return made_by[value], other
    return None


def _in_forms(tasks: list[Task], graph: Graph, form_of: FormOf) -> list[Task]:
    """Every matmul input in the forms its weights want, made by the op before or a HandOver."""
    wanted: dict[str, dict[str, None]] = {}
    for task in tasks:
        for use in task.op.weights(graph.widths):
            if use.x is not None and (form := form_of(use.name)) != F32:
                wanted.setdefault(use.x, {})[form] = None
    result: list[Task] = []
    for task in tasks:
        out = task.op.out
        forms = tuple(wanted.get(out, ())) if out is not None else ()
        if out is None or not forms:
            result.append(task)
        elif task.op.hands_over:
            result.append(replace(task, forms=forms))
        else:
            result += [task, Task(HandOver(out), forms=forms)]
    return result


def _on_row_sets(tasks: list[Task]) -> list[Task]:
    """Every task with the row set that it runs on."""
    rows_of: dict[str, str] = {}
    result = []
    for task in tasks:
        rows = task.op.rows(rows_of)
        if task.op.out is not None:
            rows_of[task.op.out] = rows
        result.append(replace(task, rows=rows))
    return result


def _writes(task: Task) -> Iterator[tuple[str, str]]:
    if task.op.out is None:
        return
    if not task.op.forms_alone:
        yield task.op.out, F32
    for form in task.forms:
        yield task.op.out, form


def _slots(
    tasks: list[Task],
    graph: Graph,
    form_bytes: dict[str, float],
    routed: int,
    overwritten: dict[str, str],
    placed: frozenset[str],
) -> tuple[dict[tuple[str, str], int], int]:
    """Memory for every (value, form) from its making to its last use, freed slots used again."""
    last_use: dict[tuple[str, str], int] = {}
    for i, task in enumerate(tasks):
        last_use |= {(value, form): i for value in task.reads for form in form_bytes}
        for key in _writes(task):
            last_use.setdefault(key, i)
    last_use[graph.output, F32] = len(tasks)
    free: list[tuple[int, int]] = []  # (size, offset)
    slots: dict[tuple[str, str], int] = {}
    sizes: dict[tuple[str, str], int] = {}
    end = 0
    for i, task in enumerate(tasks):
        for key in _writes(task):
            if key[0] in placed or key in slots:
                continue
            need = -(-int(graph.widths[key[0]] * form_bytes[key[1]]) // 64) * 64
            need *= routed if task.rows == ROUTED else 1
            before = overwritten.get(key[0], key[0]), key[1]
            fits = sorted(slot for slot in free if slot[0] >= need)
            if before in slots:
                sizes[key], slots[key] = sizes[before], slots[before]
                del last_use[before]
            elif fits:
                free.remove(fits[0])
                sizes[key], slots[key] = fits[0]
            else:
                sizes[key], slots[key] = need, end
                end += need
        free += [(sizes[k], slots[k]) for k, at in last_use.items() if at == i and k in slots]
    return slots, end


def _overwritten(tasks: list[Task], graph: Graph) -> dict[str, str]:
    """For each value that may lie where the value lay that it is made of, the latter."""
    uses: dict[str, int] = {graph.output: 1}  # by whoever takes the step's output
    for task in tasks:
        for value in task.reads:
            uses[value] = uses.get(value, 0) + 1
    return {
        task.op.out: task.op.reads[0]
        for task in tasks
        if task.op.overwrites and task.op.out is not None and uses[task.op.reads[0]] == 1
    }


def _placed(tasks: list[Task], graph: Graph, overwritten: dict[str, str]) -> frozenset[str]:
    """The output and the values that it overwrites, if none reads it and the op that makes the
    first of them can place it.
    """
    if any(graph.output in task.reads for task in tasks):
        return frozenset()
    values = [graph.output]
    while values[-1] in overwritten:
        values.append(overwritten[values[-1]])
    maker = next(task.op for task in tasks if task.op.out == values[-1])
    return frozenset(values if maker.places_output else ())


def _with_barriers(
    tasks: list[Task], graph: Graph, slots: dict[tuple[str, str], int]
) -> tuple[Task, ...]:
    """A barrier wherever a task touches memory that another share of threads wrote or reads.

    Row by row ops give each thread the same rows, so they may follow each other freely, as long as
    rows lie alike: a slot used again for another width or form has its rows elsewhere.
    """
    result: list[Task] = []
    written: dict[object, object] = {}  # place -> share of the task since the last barrier
    read: dict[object, set[object]] = {}
    for i, task in enumerate(tasks):
        inputs, outputs = _accesses(i, task, graph, slots)
        clash = any(written.get(place, share) != share for place, share in [*inputs, *outputs])
        if clash or any(read.get(place, set()) - {share} for place, share in outputs):
            result[-1] = replace(result[-1], barrier=True)
            written, read = {}, {}
        written |= dict(outputs)
        for place, share in inputs:
            read.setdefault(place, set()).add(share)
        result.append(replace(task, barrier=False))
    result[-1] = replace(result[-1], barrier=True)
    return tuple(result)


def _accesses(
    number: int, task: Task, graph: Graph, slots: dict[tuple[str, str], int]
) -> tuple[list[tuple[object, object]], list[tuple[object, object]]]:
    """(place, share of threads) of all that a task reads, and of all that it writes."""
    op = task.op
    by_row = op.share == "rows"
    rows: object = ("rows", task.rows) if by_row else number
    # every form of a value that is read: that a matmul reads only one does not matter;
    # a value without slots is read by what overwrites it alone
    values_read = [key for value in task.reads for key in slots if key[0] == value]
    inputs: list[tuple[object, object]] = [(place, rows) for place in op.state_reads]
    outputs: list[tuple[object, object]] = [(place, rows) for place in op.state_writes]
    for accesses, keys in ((inputs, values_read), (outputs, _writes(task))):
        for value, form in keys:
            share: object = (rows, graph.widths[value], form) if by_row else number
            accesses.append((slots.get((value, form), graph.output), share))
    if op.scratch is not None:
        outputs.append((("scratch", op.scratch), number))
    if op.looks_up is not None:
        inputs.append((("scratch", op.looks_up), number))
    return inputs, outputs

"""Lowers a graph to a plan: fusions, the forms each value is needed in, memory slots and barriers.

Pure data to pure data: nothing here knows kernels or addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from qrt.graph.ir import Add, Attention, Embed, Glu, Graph, Linear, Norm, Op, Rope, Select

F32 = "f32"
"""The form that every value has; other forms are what some weights want their input in."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Puts an existing value into more forms."""

    out: str
    x: str


@dataclass(frozen=True, slots=True)
class StoreKV:
    """Writes k and v into the cache of `layer`."""

    k: str
    v: str
    layer: int
    n_kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a plan.

    `residual` is added to a Linear's result. `forms` are the forms beyond F32 that `out` is written
    in. `of_logits`: the rows are those whose logits were asked for. `barrier`: all threads must be
    done with it before the next task starts.
    """

    op: Op | HandOver | StoreKV
    residual: str | None = None
    forms: tuple[str, ...] = ()
    of_logits: bool = False
    barrier: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks in order, and where each (value, form) lies: `slots` -> offset in bytes per row."""

    tasks: tuple[Task, ...]
    slots: dict[tuple[str, str], int]
    row_bytes: int  # of all slots together


FormOf = Callable[[str], str]
"""The form in which the weight of this name wants its input: F32 or another."""


def lower(graph: Graph, form_of: FormOf, form_bytes: dict[str, float]) -> Plan:
    """The plan of `graph`; `form_bytes` are the bytes per value of every form."""
    tasks = _in_forms(_with_residuals(graph), form_of)
    tasks = _marked_logits(tasks)
    slots, row_bytes = _slots(tasks, graph, form_bytes)
    return Plan(_with_barriers(tasks, graph, slots), slots, row_bytes)


def reads(task: Task) -> tuple[str, ...]:
    """The values that a task reads."""
    match task.op:
        case Embed():
            return ()
        case Linear(x=x):
            return (x, task.residual) if task.residual else (x,)
        case Norm(x=x) | Rope(x=x) | Select(x=x) | HandOver(x=x):
            return (x,)
        case Glu(gate=gate, up=up):
            return gate, up
        case Add(a=a, b=b):
            return a, b
        case StoreKV(k=k, v=v):
            return k, v
        case Attention(q=q):
            return (q,)


def _with_residuals(graph: Graph) -> list[Task]:
    """Attention split into storing and attending; a Linear takes on the Add behind it."""
    uses: dict[str, int] = {}
    for op in graph.ops:
        for value in _op_reads(op):
            uses[value] = uses.get(value, 0) + 1
    made_by: dict[str, int] = {}
    tasks: list[Task | None] = []
    for op in graph.ops:
        if isinstance(op, Attention):
            tasks.append(Task(StoreKV(op.k, op.v, op.layer, op.n_kv_heads, op.head_dim)))
        if isinstance(op, Add) and (fused := _fusable(op, tasks, made_by, uses)) is not None:
            position, residual = fused
            linear = tasks[position]
            assert linear is not None
            assert isinstance(linear.op, Linear)
            tasks[position] = None
            tasks.append(Task(replace(linear.op, out=op.out), residual=residual))
        else:
            tasks.append(Task(op))
        made_by[op.out] = len(tasks) - 1
    return [task for task in tasks if task is not None]


def _op_reads(op: Op) -> tuple[str, ...]:
    stored = (op.k, op.v) if isinstance(op, Attention) else ()
    return reads(Task(op)) + stored


def _fusable(
    op: Add, tasks: list[Task | None], made_by: dict[str, int], uses: dict[str, int]
) -> tuple[int, str] | None:
    """The Linear that alone feeds this Add, and the other summand."""
    for value, other in ((op.b, op.a), (op.a, op.b)):
        task = tasks[made_by[value]]
        plain = task is not None and isinstance(task.op, Linear) and task.residual is None
        if plain and uses[value] == 1 and value != other:
            return made_by[value], other
    return None


def _in_forms(tasks: list[Task], form_of: FormOf) -> list[Task]:
    """Every matmul input in the forms its weights want, made by the op before or a HandOver."""
    wanted: dict[str, dict[str, None]] = {}
    for task in tasks:
        if isinstance(task.op, Linear) and (form := form_of(task.op.weight)) != F32:
            wanted.setdefault(task.op.x, {})[form] = None
    result: list[Task] = []
    for task in tasks:
        out = task.op.out if not isinstance(task.op, StoreKV) else ""
        forms = tuple(wanted.get(out, ()))
        if forms and isinstance(task.op, Norm | Glu):
            result.append(replace(task, forms=forms))
        else:
            result.append(task)
            if forms:
                result.append(Task(HandOver(out, out), forms=forms))
    return result


def _marked_logits(tasks: list[Task]) -> list[Task]:
    """Select and all that follows from it work on logit rows."""
    selected: set[str] = set()
    result = []
    for task in tasks:
        of_logits = isinstance(task.op, Select) or any(value in selected for value in reads(task))
        if of_logits and not isinstance(task.op, StoreKV):
            selected.add(task.op.out)
        result.append(replace(task, of_logits=of_logits))
    return result


def _writes(task: Task) -> Iterator[tuple[str, str]]:
    if not isinstance(task.op, StoreKV | HandOver):
        yield task.op.out, F32
    if not isinstance(task.op, StoreKV):
        for form in task.forms:
            yield task.op.out, form


def _slots(
    tasks: list[Task], graph: Graph, form_bytes: dict[str, float]
) -> tuple[dict[tuple[str, str], int], int]:
    """Memory for every (value, form) from its making to its last use, freed slots used again."""
    last_use: dict[tuple[str, str], int] = {}
    for i, task in enumerate(tasks):
        last_use |= {(value, form): i for value in reads(task) for form in form_bytes}
        for key in _writes(task):
            last_use.setdefault(key, i)
    free: list[tuple[int, int]] = []  # (size, offset)
    slots: dict[tuple[str, str], int] = {}
    sizes: dict[tuple[str, str], int] = {}
    end = 0
    for i, task in enumerate(tasks):
        for key in _writes(task):
            if key[0] == graph.output or key in slots:
                continue
            need = -(-int(graph.widths[key[0]] * form_bytes[key[1]]) // 64) * 64
            fits = sorted(slot for slot in free if slot[0] >= need)
            if fits:
                free.remove(fits[0])
                sizes[key], slots[key] = fits[0]
            else:
                sizes[key], slots[key] = need, end
                end += need
        free += [(sizes[k], slots[k]) for k, at in last_use.items() if at == i and k in slots]
    return slots, end


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
        by_row = not isinstance(task.op, Linear | Attention | Select)
        rows: object = ("rows", task.of_logits) if by_row else i
        inputs: list[tuple[object, object]] = []  # (place, share)
        outputs: list[tuple[object, object]] = []
        for accesses, keys in ((inputs, _places_read(task, slots)), (outputs, _writes(task))):
            for value, form in keys:
                share: object = (rows, graph.widths[value], form) if by_row else i
                accesses.append((slots.get((value, form), graph.output), share))
        if isinstance(task.op, Attention):
            inputs.append((("kv", task.op.layer), rows))
        if isinstance(task.op, StoreKV):
            outputs.append((("kv", task.op.layer), rows))
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


def _places_read(task: Task, slots: dict[tuple[str, str], int]) -> Iterator[tuple[str, str]]:
    """Every form of the values a task reads; that a matmul reads only one does not matter."""
    for value in reads(task):
        yield from (key for key in slots if key[0] == value)

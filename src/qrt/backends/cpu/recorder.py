"""Turns a plan into a tape: for every task its kernel and the record of its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from qrt.backends.cpu.fetch import Call
from qrt.backends.cpu.memory import address
from qrt.backends.cpu.ops import runner
from qrt.backends.cpu.paging import Paged
from qrt.backends.cpu.staging import Staging
from qrt.backends.cpu.states import States
from qrt.backends.cpu.tiling import Tiling
from qrt.backends.cpu.variant import FLOATS, LINES, Variant, bits
from qrt.backends.cpu.weights import Weight
from qrt.graph.graph import Graph
from qrt.graph.lower import F32, Plan, Task
from qrt.graph.op import ALL, LOGITS, Op
from qrt.graph.ops.lora_up import Part
from qrt.graph.ops.rope import RopeSpec
from qrt.graph.state import KV
from qrt.kernels import layout
from qrt.kernels.objects import Library


def scratch_sizes(graph: Graph, n_positions: int, max_rows: int) -> dict[str, int]:
    """Bytes that the threads of some ops share, one op at a time, for steps of `max_rows`."""
    sizes: dict[str, int] = {}
    for op in graph.ops:
        if op.scratch is not None:
            need = runner(op).scratch_bytes(op, n_positions, max_rows)
            sizes[op.scratch] = max(need, sizes.get(op.scratch, 0))
    return sizes


def kernel_of(task: Task, variant: Variant) -> str:
    """The name of the kernel that does a task."""
    name: str = runner(task.op).kernel(task.op, task, variant)
    return name


@dataclass(frozen=True, slots=True)
class Tape:
    """`records` (n_records, 3) int64 as in TAPE; `args` keeps the argument records alive."""

    records: NDArray[np.int64]
    args: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, slots=True)
class Recorder:
    """All that the arguments of a model's kernels refer to."""

    graph: Graph
    plan: Plan
    weights: dict[str, Weight]
    states: States
    variant: Variant
    arena: NDArray[np.uint8]  # (plan.row_bytes * max_rows,)
    shared: dict[str, NDArray[np.uint8]]  # see `reserve_scratch`
    max_rows: int
    rope_tables: dict[RopeSpec, int]  # bytes per row before the table of each
    library: Library
    staging: Staging | None = None
    paged: Paged | None = None
    kept: list[NDArray[np.generic]] = field(default_factory=list)  # what `keep` was given

    def tape(self, tiling: Tiling) -> Tape:
        """The tape of steps whose matmuls go by `tiling`, with what brings weights to memory."""
        recorder = replace(self, variant=replace(self.variant, tiling=tiling))
        args: list[NDArray[np.int64]] = []
        records: list[list[int]] = []

        def add(kernel: str, fields: Iterable[int], barrier: bool) -> None:
            array = np.array(list(fields), np.int64)
            values = {"kernel": self.library.address(kernel), "args": address(array)}
            records.append(list(layout.fill(layout.TAPE, values | {"barrier": int(barrier)})))
            args.append(array)

        for number, task in enumerate(self.plan.tasks):
            for call in self._fetches(task):
                if records:  # where it is read to, the weight before may be in use
                    records[-1][layout.TAPE.barrier // 8] = 1
                add(call.kernel, call.fields, True)
            record, values = runner(task.op).arguments(task.op, task, recorder)
            asked = self._asked_for(number)
            barrier = task.barrier or bool(asked)
            add(kernel_of(task, recorder.variant), layout.fill(record, values), barrier)
            for call in asked:
                add(call.kernel, call.fields, False)
        return Tape(np.array(records, np.int64), tuple(args))

    def _fetches(self, task: Task) -> list[Call]:
        """The calls that read the weight of a task, if it is staged."""
        if self.staging is None:
            return []
        names = [use.name for use in task.op.weights(self.widths) if use.role == "matmul"]
        staged = [name for name in names if name in self.staging.names]
        assert len(staged) < 2, names
        return [call for name in staged for call in self.staging.fetch(name)]

    def _asked_for(self, number: int) -> list[Call]:
        """The calls for pages of weights that a task has chosen from."""
        own = self.plan.tasks[number].op.scratch
        if self.paged is None or own is None:
            return []
        chosen: dict[str, Weight] = {}
        for task in self.plan.tasks[number + 1 :]:
            if task.op.scratch == own:
                break
            if task.op.looks_up == own:
                uses = task.op.weights(self.widths)
                chosen |= {u.name: self.weights[u.name] for u in uses if u.role == "matmul"}
        return self.paged.page_in(chosen, self.scratch(own)) if chosen else []

    @property
    def widths(self) -> Mapping[str, int]:
        """Values in a row of each value."""
        return self.graph.widths

    def at(self, value: str, form: str = F32) -> int:
        """Where a value lies; 0 for where the step wants the output."""
        if value in self.plan.placed:
            return 0
        return address(self.arena) + self.plan.slots[value, form] * self.max_rows

    def parts(self, op: Op, names: Iterable[str]) -> dict[str, int]:
        """Where the columns lie that an op's fields name, and the bytes from row to row."""
        found: dict[str, int] = {}
        for name in names:
            part = getattr(op, name)
            found[name] = 0 if part is None else self.at(part.value) + 4 * part.start
            found[f"{name}_stride"] = 0 if part is None else 4 * self.widths[part.value]
        return found

    def kept_output(self) -> NDArray[np.float32] | None:
        """The memory where the output lies after a step; None where the step knows its place."""
        offset = self.plan.slots.get((self.graph.output, F32))
        if offset is None:
            return None
        return self.arena[offset * self.max_rows :].view(np.float32)

    def weight(self, name: str | None) -> int:
        """Where a weight lies; 0 for none."""
        return self.weights[name].address if name else 0

    def number(self, name: str | None) -> float:
        """The one value of a weight; 1 for none."""
        return float(self.weights[name].data.view(np.float32)[0]) if name else 1.0

    def routed_rows(self, n_experts: int) -> int:
        """Where it stands which routed rows belong to each row."""
        return self.scratch("routing") + layout.routing_parts(n_experts)[2]

    def keep(self, values: ArrayLike, dtype: DTypeLike = np.float32) -> int:
        """Where numbers of an op lie, as float32 or another type, as long as the recorder is there;
        ops that have the same share them.
        """
        wanted = np.array(values, dtype, order="C")
        same = (x for x in self.kept if x.dtype == wanted.dtype and np.array_equal(x, wanted))
        found = next(same, wanted)
        if found is wanted:
            self.kept.append(wanted)
        return address(found.reshape(-1).view(np.uint8))

    def scratch(self, name: str) -> int:
        """Where the memory lies that threads share."""
        return address(self.shared[name])

    def clear_shared(self) -> None:
        """As new: no op has begun."""
        for memory in self.shared.values():
            memory.fill(0)

    def rows_of(self, task: Task) -> dict[str, int]:
        """Where a step says how many rows a task has."""
        return {"rows_of": layout.ROWS_OF[task.rows]}

    def scales_of(self, task: Task) -> dict[str, int]:
        """Where a step says how much of each adapter the rows of a task use."""
        return {
            "n_adapters": self.graph.n_adapters,
            "scales": layout.SCALES_OF[LOGITS if task.of_logits else ALL],
        }

    def adapters(self, parts: Iterable[Part]) -> dict[str, int]:
        """Where the parts of adapters stand, and how many they are."""
        records = [[part.adapter, part.rank, part.at, bits(part.factor)] for part in parts]
        return {"parts": self.keep(records, np.int64), "n_parts": len(records)}

    def forms(self, task: Task) -> dict[str, int]:
        """Where a task writes its result for matmuls; 0 for forms that none wants."""
        out = task.op.out
        assert out is not None
        return {
            "lines": self.at(out, LINES) if LINES in task.forms else 0,
            "floats": self.at(out, FLOATS) if FLOATS in task.forms else 0,
            "tile_rows": self.variant.tiling.tile_rows(task.rows),
        }

    def pages(self, layer: int) -> dict[str, int]:
        """Where a layer's keys and values lie."""
        return {
            "group": self.graph.group_of(KV.kind, layer),
            "pages": self.states.addresses[KV.kind, layer],
            "page_stride": self.states.strides[KV.kind, layer],
        }

    def slots(self, kind: str, layer: int) -> dict[str, int]:
        """Where a layer's states of a kind lie."""
        return {
            "group": self.graph.group_of(kind, layer),
            "slots": self.states.addresses[kind, layer],
            "slot_stride": self.states.strides[kind, layer],
        }

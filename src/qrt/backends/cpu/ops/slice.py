"""Slice on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.slice import Slice
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Slice, task: Task, variant: Variant) -> str:
    return "slice"


def arguments(op: Slice, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.SLICE, {
        "x": recorder.at(op.x),
        "n_runs": recorder.widths[op.x] // op.group,
        "group": op.group,
        "start": op.start,
        "n_taken": op.size,
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

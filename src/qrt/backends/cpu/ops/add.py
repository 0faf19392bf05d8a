"""Add on the CPU, where no op before takes it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.add import Add
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Add, task: Task, variant: Variant) -> str:
    return "add"


def arguments(op: Add, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ADD, {
        "a": recorder.at(op.a),
        "b": recorder.at(op.b),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.out],
        **recorder.rows_of(task),
    }

"""Select on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.select import Select
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Select, task: Task, variant: Variant) -> str:
    return "select"


def arguments(op: Select, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.SELECT, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.out],
    }

"""Gate on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.gate import Gate
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Gate, task: Task, variant: Variant) -> str:
    return "gate"


def arguments(op: Gate, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.GATE, {
        "x": recorder.at(op.x),
        "gate": recorder.at(op.gate),
        "gate_width": recorder.widths[op.gate],
        "n_in": recorder.widths[op.out],
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

"""HandOver on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.hand_over import HandOver
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: HandOver, task: Task, variant: Variant) -> str:
    return "hand_over"


def arguments(op: HandOver, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.HAND_OVER, {
        "x": recorder.at(op.x),
        "n_in": recorder.widths[op.x],
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

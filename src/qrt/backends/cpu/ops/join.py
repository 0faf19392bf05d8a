"""Join on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.join import Join
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Join, task: Task, variant: Variant) -> str:
    return "join"


def arguments(op: Join, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.JOIN, {
        "a": recorder.at(op.a),
        "b": recorder.at(op.b),
        "n_heads": recorder.widths[op.a] // op.a_width,
        "a_width": op.a_width,
        "b_width": op.b_width,
        "b_stride": recorder.widths[op.b],
        "b_step": 0 if recorder.widths[op.b] == op.b_width else op.b_width,
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

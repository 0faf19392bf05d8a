"""Mix on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.mix import Mix
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Mix, task: Task, variant: Variant) -> str:
    return "mix"


def arguments(op: Mix, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    weights = op.row_weights
    return layout.MIX, {
        "x": recorder.at(op.x),
        "weights": 0 if weights is None else recorder.at(weights),
        "fixed": recorder.keep(op.fixed),
        "residual": recorder.at(task.residual) if task.residual else 0,
        "out": recorder.at(op.out),
        "n_in": op.n_in,
        "n_out": op.n_out,
        "width": recorder.widths[op.x] // op.n_in,
        **recorder.rows_of(task),
    }

"""Scatter on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.scatter import Scatter
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Scatter, task: Task, variant: Variant) -> str:
    return "scatter"


def arguments(op: Scatter, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.SCATTER, {
        "x": recorder.at(op.x),
        "route": recorder.at(op.route),
        "out": recorder.at(op.out),
        "residual": recorder.at(task.residual) if task.residual else 0,
        "n_in": recorder.widths[op.x],
        "n_used": op.n_used,
        "weighted": int(op.weighted),
        "places": recorder.routed_rows(op.n_experts),
    }

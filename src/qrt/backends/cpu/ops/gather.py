"""Gather on the CPU: rows are handed over to the matmuls of their experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.gather import Gather
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Gather, task: Task, variant: Variant) -> str:
    return "gather"


def arguments(op: Gather, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.GATHER, {
        "x": recorder.at(op.x),
        "n_in": recorder.widths[op.x],
        "route": recorder.at(op.route),
        "n_used": op.n_used,
        "weighted": int(op.weighted),
        "places": recorder.routed_rows(op.n_experts),
        **recorder.forms(task),
    }

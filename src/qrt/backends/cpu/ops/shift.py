"""Shift on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.shift import Shift
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Shift, task: Task, variant: Variant) -> str:
    return "shift"


def arguments(op: Shift, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.SHIFT, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": op.dim,
        **recorder.slots(op.use, op.layer),
    }

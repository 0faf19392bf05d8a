"""Elementwise on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.elementwise import Elementwise
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Elementwise, task: Task, variant: Variant) -> str:
    return f"elementwise.{op.function}"


def arguments(op: Elementwise, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ELEMENTWISE, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.out],
        "parameter": bits(op.parameter),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

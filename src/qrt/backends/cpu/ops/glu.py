"""Glu on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.glu import Glu
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Glu, task: Task, variant: Variant) -> str:
    return f"glu.{op.act}"


def arguments(op: Glu, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    gate, n_in = recorder.at(op.gate), recorder.widths[op.out]
    return layout.GLU, {
        "gate": gate,
        "up": gate + 4 * n_in if op.up is None else recorder.at(op.up),
        "stride": recorder.widths[op.gate],
        "n_in": n_in,
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

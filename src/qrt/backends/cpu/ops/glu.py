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
    return variant.with_lines("glu", task)


def arguments(op: Glu, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.GLU, {
        "gate": recorder.at(op.gate),
        "up": recorder.at(op.up),
        "n_in": recorder.widths[op.out],
        "out": recorder.at(op.out),
        "gelu": int(op.act == "gelu"),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

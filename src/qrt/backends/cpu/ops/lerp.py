"""Lerp on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.lerp import Lerp
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Lerp, task: Task, variant: Variant) -> str:
    return "lerp"


def arguments(op: Lerp, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    n_in, weight = recorder.widths[op.out], recorder.weight(op.weight)
    return layout.LERP, {
        "x": recorder.at(op.x),
        "other": recorder.at(op.other),
        "weight": weight and weight + 4 * n_in * op.weight_row,
        "more": 0 if op.more is None else recorder.at(op.more) + 4 * n_in * op.part,
        "more_stride": 0 if op.more is None else recorder.widths[op.more],
        "n_in": n_in,
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

"""Bonus on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.bonus import Bonus
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Bonus, task: Task, variant: Variant) -> str:
    return "bonus"


def arguments(op: Bonus, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.BONUS, {
        "x": recorder.at(op.x),
        "r": recorder.at(op.r),
        "k": recorder.at(op.k),
        "v": recorder.at(op.v),
        "weight": recorder.weight(op.weight),
        "gate": 0 if op.gate is None else recorder.at(op.gate),
        "n_in": recorder.widths[op.out],
        "head_dim": op.head_dim,
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

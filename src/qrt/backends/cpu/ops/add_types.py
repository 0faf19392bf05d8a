"""AddTypes on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.add_types import AddTypes
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: AddTypes, task: Task, variant: Variant) -> str:
    return "add_types"


def arguments(op: AddTypes, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ADD_TYPES, {
        "x": recorder.at(op.x),
        "weights": recorder.weight(op.table),
        "n_in": recorder.widths[op.out],
        "out": recorder.at(op.out),
    }

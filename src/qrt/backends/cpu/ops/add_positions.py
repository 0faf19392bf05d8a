"""AddPositions on the CPU: tables of panels, or rows as the file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.add_positions import AddPositions
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: AddPositions, task: Task, variant: Variant) -> str:
    return f"add_positions.{variant.qtypes[op.table]}"


def arguments(op: AddPositions, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ADD_POSITIONS, {
        "x": recorder.at(op.x),
        "weights": recorder.weight(op.table),
        "n_in": recorder.widths[op.out],
        "out": recorder.at(op.out),
        "packed": int(recorder.weights[op.table].packed),
    }

"""LayerScale on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.layer_scale import LayerScale
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: LayerScale, task: Task, variant: Variant) -> str:
    return "layer_scale"


def arguments(op: LayerScale, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.LAYER_SCALE, {
        "x": recorder.at(op.x),
        "weight": recorder.weight(op.weight),
        "bias": recorder.weight(op.bias),
        "n_in": recorder.widths[op.x],
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

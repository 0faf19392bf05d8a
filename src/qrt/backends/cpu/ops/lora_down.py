"""LoraDown on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qrt.graph.lower import Task
from qrt.graph.ops.expert_lora_down import ExpertLoraDown
from qrt.graph.ops.lora_down import PANEL, RUN, LoraDown
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant

assert RUN == layout.LORA_RUN
assert PANEL == 16


def kernel(op: LoraDown, task: Task, variant: Variant) -> str:
    return "lora_down"


def arguments(op: LoraDown, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.LORA_DOWN, {
        **operands(op, recorder),
        **recorder.rows_of(task),
        **recorder.scales_of(task),
    }


def operands(op: LoraDown | ExpertLoraDown, recorder: Recorder) -> dict[str, int]:
    """What the records of rows and of routed rows have in common."""
    return {
        "x": recorder.at(op.x),
        "weights": recorder.weight(op.weight),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.x],
        "n_panels": len(op.adapters),
        "adapters": recorder.keep(op.adapters, np.int64),
    }

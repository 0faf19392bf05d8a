"""ExpertLoraDown on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.ops.lora_down import operands
from qrt.graph.lower import Task
from qrt.graph.ops.expert_lora_down import ExpertLoraDown
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: ExpertLoraDown, task: Task, variant: Variant) -> str:
    return "expert_lora_down"


def arguments(op: ExpertLoraDown, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.EXPERT_LORA_DOWN, {
        **operands(op, recorder),
        **recorder.rows_of(task),
        **recorder.scales_of(task),
        "route": recorder.at(op.route),
        "places": recorder.routed_rows(op.n_experts),
        "n_used": op.n_used,
        "routed": int(op.routed),
        "weighted": int(op.weighted),
    }

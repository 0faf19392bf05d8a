"""ExpertLoraUp on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.ops.lora_up import operands
from qrt.graph.lower import Task
from qrt.graph.ops.expert_lora_up import ExpertLoraUp
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: ExpertLoraUp, task: Task, variant: Variant) -> str:
    return "expert_lora_up"


def arguments(op: ExpertLoraUp, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    run = recorder.widths[op.t] // op.n_used // op.n_runs
    return layout.EXPERT_LORA_UP, {
        **operands(op, recorder, run),
        "residual": 0,
        **recorder.rows_of(task),
        **recorder.scales_of(task),
        "route": recorder.at(op.route),
        "places": recorder.routed_rows(op.n_experts),
        "n_used": op.n_used,
    }

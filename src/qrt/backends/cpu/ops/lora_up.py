"""LoraUp on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.expert_lora_up import ExpertLoraUp
from qrt.graph.ops.lora_up import MAX_RANKS, LoraUp
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant

assert 256 + 4 * 4 * MAX_RANKS <= layout.SCRATCH


def kernel(op: LoraUp, task: Task, variant: Variant) -> str:
    return "lora_up"


def arguments(op: LoraUp, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.LORA_UP, {
        **operands(op, recorder, recorder.widths[op.t] // op.n_runs),
        "residual": recorder.at(task.residual) if task.residual else 0,
        **recorder.rows_of(task),
        **recorder.scales_of(task),
    }


def operands(op: LoraUp | ExpertLoraUp, recorder: Recorder, run: int) -> dict[str, int]:
    """What the records of rows and of routed rows have in common; `run`: the values in a run."""
    return {
        "y": recorder.at(op.y),
        "t": recorder.at(op.t),
        "weights": recorder.weight(op.weight),
        "out": recorder.at(op.out),
        "n_out": recorder.widths[op.out],
        "n_runs": op.n_runs,
        "run": run,
        **recorder.adapters(op.parts),
    }

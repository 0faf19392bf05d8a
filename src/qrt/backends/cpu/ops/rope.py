"""Rope on the CPU, from tables of cos and sin that each step brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.rope import Rope
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Rope, task: Task, variant: Variant) -> str:
    return "rope"


def arguments(op: Rope, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ROPE, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_heads": recorder.widths[op.x] // op.head_dim,
        "head_dim": op.head_dim,
        "rope_dim": op.spec.dim,
        "neox": int(op.spec.style == "neox"),
        "table": recorder.rope_tables[op.spec],
    }

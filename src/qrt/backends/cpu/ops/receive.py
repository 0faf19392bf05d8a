"""Receive on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.receive import Receive
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Receive, task: Task, variant: Variant) -> str:
    return "receive"


def arguments(op: Receive, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.RECEIVE, {"out": recorder.at(op.out), "n_in": op.dim}

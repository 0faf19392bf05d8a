"""Rescale on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.rescale import Rescale
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Rescale, task: Task, variant: Variant) -> str:
    return "rescale"


def arguments(op: Rescale, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    n_in = recorder.widths[op.like]
    return layout.RESCALE, {
        "x": recorder.at(op.x),
        "like": recorder.at(op.like),
        "out": recorder.at(op.out),
        "n_runs": recorder.widths[op.x] // n_in,
        "n_in": n_in,
        "floor": bits(op.floor),
        **recorder.rows_of(task),
    }

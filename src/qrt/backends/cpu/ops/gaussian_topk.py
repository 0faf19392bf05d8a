"""GaussianTopK on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.gaussian_topk import GaussianTopK
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: GaussianTopK, task: Task, variant: Variant) -> str:
    return "gaussian_topk"


def arguments(op: GaussianTopK, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.GAUSSIAN_TOPK, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.x],
        "n_deviations": bits(op.n_deviations),
        **recorder.rows_of(task),
    }

"""Xielu on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.xielu import Xielu
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Xielu, task: Task, variant: Variant) -> str:
    return "xielu"


def arguments(op: Xielu, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    numbers = ("alpha_p", "alpha_n", "beta", "eps")
    return layout.XIELU, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.out],
        **{name: bits(getattr(op, name)) for name in numbers},
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

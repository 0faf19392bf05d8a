"""Temper on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.temper import Temper
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Temper, task: Task, variant: Variant) -> str:
    return "temper"


def arguments(op: Temper, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.TEMPER, {
        "x": recorder.at(op.x),
        "out": recorder.at(op.out),
        "n_in": recorder.widths[op.out],
        "length": op.length,
        "scale": bits(op.scale),
        "offset": op.offset,
    }

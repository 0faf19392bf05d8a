"""Norm on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.norm import Norm
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant

KINDS = {"rms": 0, "layer": 1}


def kernel(op: Norm, task: Task, variant: Variant) -> str:
    return "norm"


def arguments(op: Norm, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.NORM, {
        "x": recorder.at(op.x),
        "weight": recorder.weight(op.weight),
        "bias": recorder.weight(op.bias),
        "n_in": recorder.widths[op.x],
        "group": op.group,
        "own_weights": int(op.own_weights),
        "eps": bits(op.eps),
        "kind": KINDS[op.norm],
        "out": recorder.at(op.out),
        **recorder.rows_of(task),
        **recorder.forms(task),
    }

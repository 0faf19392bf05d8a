"""Conv on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.conv import Conv
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Conv, task: Task, variant: Variant) -> str:
    return f"conv.{'silu' if op.silu else 'plain'}"


def arguments(op: Conv, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.CONV, {
        **recorder.parts(op, ("x",)),
        "weight": recorder.weight(op.weight),
        "bias": recorder.weight(op.bias),
        "out": recorder.at(op.out),
        "dim": op.dim,
        "n_taps": op.n_taps,
        **recorder.slots(op.state, op.layer),
    }

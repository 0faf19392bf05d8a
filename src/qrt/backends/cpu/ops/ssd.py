"""Ssd on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.ssd import Ssd
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Ssd, task: Task, variant: Variant) -> str:
    return "ssd"


def arguments(op: Ssd, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    numbers = ("n_heads", "head_dim", "n_groups", "n_state")
    return layout.SSD, {
        **recorder.parts(op, ("x", "b", "c", "dt", "gate")),
        **{name: recorder.weight(getattr(op, name)) for name in ("a", "d", "dt_bias")},
        "out": recorder.at(op.out),
        **{name: getattr(op, name) for name in numbers},
        **recorder.slots("ssm", op.layer),
    }

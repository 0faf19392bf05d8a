"""SelectiveScan on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.selective_scan import SelectiveScan
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: SelectiveScan, task: Task, variant: Variant) -> str:
    return "selective_scan"


def arguments(op: SelectiveScan, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.SELECTIVE_SCAN, {
        **recorder.parts(op, ("x", "b", "c", "dt", "gate")),
        **{name: recorder.weight(getattr(op, name)) for name in ("a", "d")},
        "out": recorder.at(op.out),
        "dim": op.dim,
        "n_state": op.n_state,
        **recorder.slots("ssm", op.layer),
    }

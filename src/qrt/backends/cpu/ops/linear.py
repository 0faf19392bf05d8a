"""Linear on the CPU: a matmul on packed panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits, form_for
from qrt.graph.lower import Task
from qrt.graph.ops.linear import Linear
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Linear, task: Task, variant: Variant) -> str:
    return variant.matmul(task, op.weight)


def arguments(op: Linear, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    weight = recorder.weights[op.weight]
    n_out, n_in = recorder.graph.weights[op.weight]
    return layout.MATMUL, {
        "weights": weight.address,
        "x": recorder.at(op.x, form_for(weight.qtype)),
        "out": recorder.at(op.out),
        "stride": n_out,
        "bias": recorder.weight(op.bias),
        "residual": recorder.at(task.residual) if task.residual else 0,
        "n_in": n_in,
        "n_out": n_out,
        "scale": bits(recorder.number(op.scale)),
        **recorder.rows_of(task),
    }

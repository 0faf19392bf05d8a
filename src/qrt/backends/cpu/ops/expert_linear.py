"""ExpertLinear on the CPU: matmuls on the panels of the experts that have rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits, form_for
from qrt.graph.lower import Task
from qrt.graph.ops.expert_linear import ExpertLinear
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: ExpertLinear, task: Task, variant: Variant) -> str:
    return variant.on_experts(op.weight)


def arguments(op: ExpertLinear, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    weight = recorder.weights[op.weight]
    _, n_out, n_in = recorder.graph.weights[op.weight]
    return layout.EXPERT_MATMUL, {
        "weights": weight.address,
        "x": recorder.at(op.x, form_for(weight.qtype)),
        "out": recorder.at(op.out),
        "stride": n_out,
        "bias": recorder.weight(op.bias),
        "residual": 0,
        "n_in": n_in,
        "n_out": n_out,
        "scale": bits(1.0),
        "scales": recorder.weight(op.scale),
        "routing": recorder.scratch("routing"),
        "next": 0,
        **recorder.rows_of(task),
    }

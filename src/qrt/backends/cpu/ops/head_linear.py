"""HeadLinear on the CPU: a matmul on the packed panels of each head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits, form_for
from qrt.graph.lower import Task
from qrt.graph.ops.head_linear import HeadLinear
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: HeadLinear, task: Task, variant: Variant) -> str:
    return f"head_{variant.matmul(task, op.weight)}"


def arguments(op: HeadLinear, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    weight = recorder.weights[op.weight]
    n_in = weight.shape[-1]
    return layout.HEAD_MATMUL, {
        "weights": weight.address,
        "x": recorder.at(op.x, form_for(weight.qtype)),
        "out": recorder.at(op.out),
        "stride": op.n_heads * op.n_out,
        "bias": 0,
        "residual": 0,
        "n_in": n_in,
        "n_out": op.n_out,
        "n_heads": op.n_heads,
        "scale": bits(1.0),
        **recorder.rows_of(task),
    }

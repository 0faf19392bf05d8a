"""Route on the CPU; the last thread sorts the rows by expert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.route import LEAST_SUM, Route
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


GATINGS = {
    "softmax": 0,
    "sigmoid": 1,
    "softmax_of_chosen": 2,
    "sqrt_softplus": 3,
    "sparsemixer": 4,
}


def kernel(op: Route, task: Task, variant: Variant) -> str:
    return "route"


def arguments(op: Route, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ROUTE, {
        "logits": recorder.at(op.logits),
        "out": recorder.at(op.out),
        "bias": recorder.weight(op.bias),
        "n_experts": op.n_experts,
        "n_used": op.n_used,
        "gating": GATINGS[op.gating],
        "n_groups": op.n_groups,
        "n_groups_used": op.n_groups_used,
        "renormalize": int(op.renormalize),
        "scale": bits(op.scale),
        "least_sum": bits(LEAST_SUM),
        "threshold": bits(op.threshold),
        "tile_rows": recorder.variant.tiling.routed_rows,
        "routing": recorder.scratch("routing"),
    }


def scratch_bytes(op: Route, n_positions: int, max_rows: int) -> int:
    """Room for the active experts and the routed row of each row and choice."""
    return layout.routing_parts(op.n_experts)[2] + 4 * max_rows * op.n_used

"""Embed on the CPU: tables of panels, or rows as the file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.embed import Embed
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Embed, task: Task, variant: Variant) -> str:
    return f"embed.{variant.qtypes[op.table]}"


def arguments(op: Embed, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.EMBED, {
        "weights": recorder.weight(op.table),
        "n_in": op.dim,
        "out": recorder.at(op.out),
        "scale": bits(op.scale),
        "packed": int(recorder.weights[op.table].packed),
    }

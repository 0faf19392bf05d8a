"""Wkv7 on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.wkv7 import Wkv7
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Wkv7, task: Task, variant: Variant) -> str:
    return "wkv7"


def arguments(op: Wkv7, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.WKV7, {
        "r": recorder.at(op.r),
        "k": recorder.at(op.k),
        "v": recorder.at(op.v),
        "decay": recorder.at(op.decay),
        "removed": recorder.at(op.removed),
        "rate": recorder.at(op.rate),
        "out": recorder.at(op.out),
        "n_heads": op.n_heads,
        "head_dim": op.head_dim,
        "layer": op.layer,
        **recorder.slots("wkv", op.layer),
    }

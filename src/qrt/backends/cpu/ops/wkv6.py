"""Wkv6 on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.wkv6 import Wkv6
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Wkv6, task: Task, variant: Variant) -> str:
    return "wkv6.gated" if op.first is None else "wkv6"


def arguments(op: Wkv6, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.WKV6, {
        "r": recorder.at(op.r),
        "k": recorder.at(op.k),
        "v": recorder.at(op.v),
        "decay": recorder.at(op.decay),
        "first": recorder.weight(op.first),
        "out": recorder.at(op.out),
        "n_heads": op.n_heads,
        "n_kv_heads": op.n_kv_heads,
        "head_dim": op.head_dim,
        "layer": op.layer,
        **recorder.slots("wkv", op.layer),
    }

"""Delta on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.delta import Delta
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: Delta, task: Task, variant: Variant) -> str:
    return "delta"


def arguments(op: Delta, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.DELTA, {
        **recorder.parts(op, "qkv"),
        "beta": recorder.at(op.beta),
        "decay": recorder.at(op.decay),
        "bias": recorder.weight(op.bias),
        "rate": recorder.weight(op.rate),
        "by_channel": int(op.by_channel(recorder.widths)),
        "out": recorder.at(op.out),
        "n_heads": op.n_heads,
        "n_k_heads": op.n_k_heads,
        "grouped": int(op.grouped),
        "k_dim": op.k_dim,
        "v_dim": op.v_dim,
        "eps": bits(op.eps),
        **recorder.slots("delta", op.layer),
    }

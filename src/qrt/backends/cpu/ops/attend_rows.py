"""AttendRows on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.attend_rows import AttendRows
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: AttendRows, task: Task, variant: Variant) -> str:
    return "attend_rows"


def arguments(op: AttendRows, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    span = layout.bias_span(recorder.max_rows)
    learned = None
    if op.rel_bias is not None:
        values = recorder.weights[op.rel_bias].data.view(np.float32)
        learned = (
            values[: op.n_buckets * op.n_heads].reshape(op.n_buckets, op.n_heads).astype(float)
        )
    bias = np.maximum(op.bias(span, learned), layout.FAR_BELOW)
    return layout.ATTEND_ROWS, {
        "q": recorder.at(op.q),
        "k": recorder.at(op.k),
        "v": recorder.at(op.v),
        "out": recorder.at(op.out),
        "layer": op.layer,
        "n_heads": op.n_heads,
        "n_kv_heads": op.n_kv_heads,
        "k_width": op.k_width,
        "v_width": op.v_width,
        "scale": bits(op.scale),
        "softcap": bits(op.softcap or 0.0),
        "reach": span if op.reach is None else op.reach,
        "bias": recorder.keep(bias) if bias.any() else 0,
        "bias_stride": 4 * bias.shape[1] if len(bias) > 1 else 0,
        "span": span,
    }

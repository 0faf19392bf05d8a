"""Attention on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qrt.backends.cpu.variant import bits
from qrt.graph.lower import Task
from qrt.graph.ops.attention import MOST_DISTANCE, Attention, alibi_slopes
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant

assert MOST_DISTANCE + 15 <= layout.FAR
_SEES = {"all": 0, "encoded": layout.ENCODED, "decoded": layout.DECODED}


def kernel(op: Attention, task: Task, variant: Variant) -> str:
    bias = ".alibi" if op.max_bias else ".learned" if op.rel_bias is not None else ""
    return f"{variant.with_cache('attention', v_in_k=op.v_in_k)}.{heads_at_once(op)}{bias}"


def arguments(op: Attention, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.ATTENTION, {
        "q": recorder.at(op.q),
        "out": recorder.at(op.out),
        "layer": op.layer,
        "n_heads": op.n_heads,
        "n_kv_heads": op.n_kv_heads,
        "k_width": op.k_width,
        "v_width": op.v_width,
        "scale": bits(op.scale),
        "window": op.window or 0,
        "chunked": int(op.chunked),
        "softcap": bits(op.softcap or 0.0),
        "sinks": recorder.weight(op.sinks),
        **_bias(op, recorder),
        "sees": _SEES[op.sees],
        "partials": recorder.scratch("partials"),
        **recorder.pages(op.layer),
    }


def _bias(op: Attention, recorder: Recorder) -> dict[str, int]:
    """Where the slope of each head is, or its learned biases."""
    if op.rel_bias is None:
        slopes = recorder.keep(alibi_slopes(op.n_heads, op.max_bias)) if op.max_bias else 0
        return {"bias": slopes, "bias_stride": 4}
    learned = recorder.weights[op.rel_bias].data.view(np.float32)[: op.n_buckets * op.n_heads]
    distance = np.maximum(np.arange(layout.FAR, -16, -1), 0)
    table = op.bias(distance, learned.reshape(op.n_buckets, op.n_heads).astype(float))
    return {"bias": recorder.keep(table), "bias_stride": 4 * table.shape[1]}


def scratch_bytes(op: Attention, n_positions: int, max_rows: int) -> int:
    """Room for what is kept of the splits of rows of `n_positions`."""
    heads = heads_at_once(op)
    n_groups = op.n_kv_heads * -(-op.n_heads // op.n_kv_heads // heads)
    return layout.partial_bytes(n_groups, n_positions, heads, op.v_width)


def heads_at_once(op: Attention) -> int:
    """Query heads that share a load of keys and values."""
    if op.rel_bias is not None:
        return 1
    shared = op.n_heads // op.n_kv_heads
    return shared if shared < 3 else 4

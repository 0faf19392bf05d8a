"""StoreKV on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.store_kv import StoreKV
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: StoreKV, task: Task, variant: Variant) -> str:
    return variant.with_cache("store_kv", v_in_k=op.v is None)


def arguments(op: StoreKV, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.STORE_KV, {
        "k": recorder.at(op.k),
        "v": recorder.at(op.v) if op.v else 0,
        "n_kv_heads": op.n_kv_heads,
        "k_width": op.k_width,
        "v_width": op.v_width,
        **recorder.pages(op.layer),
    }

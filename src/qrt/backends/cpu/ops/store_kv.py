"""StoreKV on the CPU; where V is in K, it is stored a second time as V."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qrt.graph.lower import Task
from qrt.graph.ops.store_kv import StoreKV
from qrt.kernels import layout

if TYPE_CHECKING:
    from qrt.backends.cpu.recorder import Recorder
    from qrt.backends.cpu.variant import Variant


def kernel(op: StoreKV, task: Task, variant: Variant) -> str:
    return variant.with_cache("store_kv")


def arguments(op: StoreKV, task: Task, recorder: Recorder) -> tuple[Any, dict[str, int]]:
    return layout.STORE_KV, {
        "k": recorder.at(op.k),
        "v": recorder.at(op.v or op.k),
        "v_stride": op.v_width if op.v else op.k_width,
        "n_kv_heads": op.n_kv_heads,
        "k_width": op.k_width,
        "v_width": op.v_width,
        **recorder.pages(op.layer),
    }

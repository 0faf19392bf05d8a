"""Keys and values of all rows go into their pages."""

from __future__ import annotations

from qrt.backends.reference.step import Step
from qrt.graph.ops.store_kv import StoreKV


def run(step: Step, op: StoreKV) -> None:
    pages = step.pages[op.layer]
    k = step.values[op.k].reshape(-1, op.n_kv_heads, op.k_width)  # (n_rows, n_kv_heads, k_width)
    for row, (page, slot) in enumerate(step.places(op.layer)):
        pages.k[page[-1], slot[-1]] = pages.k_rounded(k[row])
    if op.v is not None:
        v = step.values[op.v].reshape(-1, op.n_kv_heads, op.v_width)
        for row, (page, slot) in enumerate(step.places(op.layer)):
            pages.v[page[-1], slot[-1]] = pages.v_rounded(v[row])

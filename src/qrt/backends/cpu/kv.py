"""The KV pages of all layers in one reservation of memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import KV_TYPES, kv_types
from qrt.backends.cpu.memory import address, reserve
from qrt.graph.ir import Attention, Graph
from qrt.kernels.layout import KV_BYTES, PAGE

assert set(KV_BYTES) == set(KV_TYPES)


@dataclass(frozen=True, slots=True)
class KVPages:
    """A page of all layers lies together: page p of a layer at addresses[layer] + p * stride."""

    memory: NDArray[np.uint8]
    addresses: dict[int, int]
    stride: int


def page_sizes(graph: Graph, kv_type: str) -> dict[int, int]:
    """Bytes of one page of every attention layer."""
    k_and_v = sum(KV_BYTES[part] for part in kv_types(kv_type))
    return {
        op.layer: op.n_kv_heads * PAGE * -(-op.head_dim // 32) * k_and_v
        for op in graph.ops
        if isinstance(op, Attention)
    }


def kv_bytes_per_token(graph: Graph, kv_type: str) -> int:
    """Bytes of keys and values that one position takes in all layers."""
    return sum(page_sizes(graph, kv_type).values()) // PAGE


def reserve_pages(graph: Graph, n_pages: int, kv_type: str) -> KVPages:
    """Pages for every attention layer; memory is used only as they are written."""
    sizes = page_sizes(graph, kv_type)
    stride = sum(sizes.values())
    memory = reserve(n_pages * stride, huge=True)
    addresses, at = {}, address(memory)
    for layer, size in sizes.items():
        addresses[layer] = at
        at += size
    return KVPages(memory, addresses, stride)

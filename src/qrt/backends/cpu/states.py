"""What sequences are remembered by: the pages and slots of every state group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import kv_types
from qrt.backends.cpu.memory import address, reserve
from qrt.formats.cache_types import CACHE_BYTES
from qrt.graph.batch import PAGE_LEN
from qrt.graph.state import KV, StateGroup
from qrt.kernels.layout import PAGE

assert PAGE == PAGE_LEN


@dataclass(frozen=True, slots=True)
class States:
    """The memory of each group, (n_layers, n_pages or n_slots, bytes).

    The pages of a layer lie together, in the order of their numbers: page p of a layer is at its
    address + p * its stride. Those of a sequence are mostly in order, and memory that is read in
    order comes faster.
    """

    memory: tuple[NDArray[np.uint8], ...]
    addresses: dict[tuple[str, int], int]  # (kind, layer)
    strides: dict[tuple[str, int], int]


def layer_bytes(group: StateGroup, kv_type: str) -> int:
    """Bytes of one layer in a page or slot of a group."""
    if not isinstance(group, KV):
        return group.n_bytes
    k_bytes, v_bytes = (CACHE_BYTES[part] for part in kv_types(kv_type))
    values = -(-group.k_width // 32) * k_bytes
    if not group.v_in_k:
        values += -(-group.v_width // 32) * v_bytes
    return group.n_kv_heads * PAGE * values


def unit_bytes(group: StateGroup, kv_type: str) -> int:
    """Bytes of one page, or of one slot, of a group."""
    return len(group.layers) * layer_bytes(group, kv_type)


def kv_bytes(groups: Iterable[StateGroup], kv_type: str, n_positions: int) -> int:
    """Bytes that attention reads of so many positions, in windowed layers of the window."""
    return sum(
        unit_bytes(group, kv_type) * min(n_positions, group.window or n_positions) // PAGE
        for group in groups
        if isinstance(group, KV)
    )


def reserve_states(
    groups: tuple[StateGroup, ...], capacities: tuple[int, ...], kv_type: str
) -> States:
    """Pages and slots for every group; memory is used only as they are written."""
    memory, addresses, strides = [], {}, {}
    for group, capacity in zip(groups, capacities, strict=True):
        size, n_layers = layer_bytes(group, kv_type), len(group.layers)
        units = reserve(n_layers * capacity * size, huge=True).reshape(n_layers, capacity, size)
        memory.append(units)
        for number, layer in enumerate(group.layers):
            addresses[group.kind, layer] = address(units) + number * capacity * size
            strides[group.kind, layer] = size
    return States(tuple(memory), addresses, strides)

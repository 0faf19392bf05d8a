"""What a model's layers remember of a sequence, in groups that share a pool and a page table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

PAGE_LEN = 64
"""Positions per KV page."""


@dataclass(frozen=True, slots=True)
class KV:
    """Keys and values of some layers, in pages of PAGE_LEN positions that hold all of them.

    A position's K is `n_kv_heads` rows of `k_width` values, its V as many of `v_width`. With
    `v_in_k`, V is the first `v_width` values of each row of K and is not stored (MLA, DeepSeek-AI
    2024). With `window` w, position p needs positions p - w + 1 .. p; older pages may be let go.
    """

    kind: ClassVar[str] = "kv"

    layers: tuple[int, ...]
    k_width: int
    v_width: int
    n_kv_heads: int
    window: int | None = None
    v_in_k: bool = False


@dataclass(frozen=True, slots=True)
class Recurrent:
    """The state of some layers after a position (convolution tail, SSM or delta state), in slots.

    A slot holds `n_bytes` for each layer. A step reads one slot and writes another, so that the
    state it began with stays until the step is known to have succeeded. A layer may have states of
    several kinds, each in a group of its own.
    """

    layers: tuple[int, ...]
    n_bytes: int
    kind: str = "recurrent"
    """What it is, as "conv"; no other group of the layer has this name."""


StateGroup = KV | Recurrent


def units_for(group: StateGroup, end: int) -> int:
    """Entries of a table for positions before `end`: pages, or the two slots of a step."""
    return -(-end // PAGE_LEN) if isinstance(group, KV) else 2


def first_unit(group: StateGroup, start: int) -> int:
    """The first entry that a step from position `start` on may follow.

    Pages out of the window may be gone, and a sequence that begins has no slot to read.
    """
    if isinstance(group, KV):
        return 0 if group.window is None else max(0, start - group.window + 1) // PAGE_LEN
    return 1 if start == 0 else 0


def first_written(group: StateGroup, start: int) -> int:
    """The first entry that a step from position `start` on writes to."""
    return start // PAGE_LEN if isinstance(group, KV) else 1

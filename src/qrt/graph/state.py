"""What a model's layers remember of a sequence, in groups that share a pool and a page table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KV:
    """Keys and values of some layers, in pages of PAGE_LEN positions that hold all of them.

    A position's K is `n_kv_heads` rows of `k_width` values, its V as many of `v_width`. With
    `v_in_k`, V is the first `v_width` values of each row of K and is not stored (MLA, DeepSeek-AI
    2024). With `window` w, position p needs positions p - w + 1 .. p; older pages may be let go.
    """

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
    state it began with stays until the step is known to have succeeded.
    """

    layers: tuple[int, ...]
    n_bytes: int


StateGroup = KV | Recurrent

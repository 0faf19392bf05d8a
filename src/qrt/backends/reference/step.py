"""What an op of the reference backend may look at: the step's rows, weights and states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.graph.batch import Batch
from qrt.graph.graph import Graph
from qrt.graph.state import KV, PAGE_LEN, Recurrent

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pages:
    """KV storage of one layer, float32; V may be the first values of K."""

    k: NDArray[Any]  # (n_pages, PAGE_LEN, n_kv_heads, k_width)
    v: NDArray[Any]  # (n_pages, PAGE_LEN, n_kv_heads, v_width)
    k_rounded: Callable[[Array], Array]  # what the cache makes of rows (n_kv_heads, k_width)
    v_rounded: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Step:
    """Everything an op may look at, and the values made so far, each (n_rows, width)."""

    graph: Graph
    batch: Batch
    weights: Mapping[str, Array]
    pages: Mapping[int, Pages]  # by layer
    slots: Mapping[int, NDArray[np.uint8]]  # by layer, (n_slots, n_bytes)
    hidden: NDArray[np.float32] | None
    values: dict[str, Array]

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Of all rows, (n_rows,)."""
        return np.concatenate([segment.tokens for segment in self.batch.segments])

    @property
    def positions(self) -> NDArray[np.int64]:
        """Of all rows, (n_rows,)."""
        return np.concatenate([s.start + np.arange(len(s.tokens)) for s in self.batch.segments])

    @property
    def logit_rows(self) -> NDArray[np.int64]:
        """The rows whose logits were asked for, (n_logits,)."""
        first = np.cumsum([0, *(len(segment.tokens) for segment in self.batch.segments)])
        rows = [at + s.logit_rows for at, s in zip(first, self.batch.segments, strict=False)]
        return np.concatenate(rows).astype(np.int64)

    def places(self, layer: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For every row the page and slot of each position up to its own, in `layer`.

        Positions that fell out of the window have no page; nothing may read them.
        """
        group, found = self.graph.group_of(KV.kind, layer), []
        for segment in self.batch.segments:
            table = segment.tables[group].astype(np.int64)
            for row in range(len(segment.tokens)):
                page, slot = np.divmod(np.arange(segment.start + row + 1), PAGE_LEN)
                found.append((table[page], slot))
        return found

    def slot_pairs(self, layer: int) -> list[tuple[int, int]]:
        """For every segment the slot to read, NO_PAGE for a fresh state, and the one to write."""
        group = self.graph.group_of(Recurrent.kind, layer)
        tables = [segment.tables[group] for segment in self.batch.segments]
        return [(int(table[0]), int(table[1])) for table in tables]

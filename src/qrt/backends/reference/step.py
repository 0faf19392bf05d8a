"""What an op of the reference backend may look at: the step's rows, weights and states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qrt.graph.batch import NO_PAGE, Batch
from qrt.graph.graph import Graph
from qrt.graph.state import KV, PAGE_LEN

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
    slots: Mapping[tuple[str, int], Array]  # by kind and layer, (n_slots, n_bytes / 4)
    hidden: NDArray[np.float32] | None
    values: dict[str, Array]

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Of all rows, (n_rows,)."""
        return np.concatenate([segment.tokens for segment in self.batch.segments])

    @property
    def types(self) -> NDArray[np.int64]:
        """Those of all tokens, (n_rows,)."""
        found = [
            np.zeros(len(s.tokens), np.int64) if s.types is None else s.types.astype(np.int64)
            for s in self.batch.segments
        ]
        return np.concatenate(found)

    @property
    def segments(self) -> list[range]:
        """The rows of each segment."""
        ends = np.cumsum([0, *(len(segment.tokens) for segment in self.batch.segments)]).tolist()
        return [range(start, end) for start, end in pairwise(ends)]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Of all rows, (n_rows,)."""
        return np.concatenate([s.start + np.arange(len(s.tokens)) for s in self.batch.segments])

    @property
    def encoded(self) -> NDArray[np.int64]:
        """Where the text of each row ends that an encoder has read, (n_rows,)."""
        return np.concatenate([np.full(len(s.tokens), s.n_encoded) for s in self.batch.segments])

    @property
    def scales(self) -> Array:
        """How much of each adapter the rows use, (n_rows, n_adapters)."""
        scales = np.zeros((self.batch.n_rows, self.graph.n_adapters))
        first = 0
        for segment in self.batch.segments:
            end = first + len(segment.tokens)
            scales[first:end] = segment.scales or 0.0
            first = end
        return scales

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

    def states(
        self, kind: str, layer: int, shape: tuple[int, ...]
    ) -> Iterator[tuple[range, Array]]:
        """For every segment its rows, and the state before them, zeros for a fresh one.

        What the state has become when the next is asked for is what the segment leaves.
        """
        group, slots, first = self.graph.group_of(kind, layer), self.slots[kind, layer], 0
        for segment in self.batch.segments:
            source, target = segment.tables[group][:2].tolist()
            state = np.zeros(shape)
            if source != NO_PAGE:
                state[:] = slots[source].reshape(shape)
            end = first + len(segment.tokens)
            yield range(first, end), state
            slots[target] = state.reshape(-1)
            first = end

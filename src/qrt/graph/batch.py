"""What one step takes: rows of any sequences, where their states lie, whose logits to return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qrt.graph.state import PAGE_LEN

__all__ = ["FEW_ROWS", "NO_PAGE", "PAGE_LEN", "Batch", "Phase", "Segment", "phase_of"]

Phase = Literal["prefill", "decode"]

FEW_ROWS = 32
"""Steps of up to so many rows decode: the bus is the limit, weights are read as a stream.

Measured on a 1B (Q4_0, Q6_K): at 32 rows 8 to 10% faster than the kernels of prefill, at 40 up to
12% slower."""

NO_PAGE = -1
"""In a table: no page or slot; of a position that fell out of the window, or of a fresh state."""


def phase_of(n_rows: int) -> Phase:
    """How a step of so many rows is run; its results do not depend on it."""
    return "decode" if n_rows <= FEW_ROWS else "prefill"


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one sequence: `tokens` at positions `start`, `start` + 1 and so on.

    `tables` has one table for each of the graph's state groups. KV: page ids in order of position;
    position p lies in page `p // PAGE_LEN`, slot `p % PAGE_LEN`. Recurrent: the slot to read and
    the slot to write. `logit_rows` are those of the segment's rows that give logits, rising.
    `types` are those of the tokens, from 0 up to the graph's `n_types`; None: all are 0.
    `scales` say how much of each of the graph's adapters the rows use; () for nothing of any.
    `n_encoded` is where the text ends that an encoder reads, whose rows are a segment of their own.
    """

    tokens: NDArray[np.int32]  # (n_rows,)
    start: int
    tables: tuple[NDArray[np.int32], ...]
    logit_rows: NDArray[np.int32]  # (n_logits,)
    types: NDArray[np.int32] | None = None  # (n_rows,)
    scales: tuple[float, ...] = ()
    n_encoded: int = 0

    @property
    def encodes(self) -> bool:
        """Whether it is the text that an encoder reads."""
        return self.start < self.n_encoded


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step: segments of different sequences, their rows in order."""

    segments: tuple[Segment, ...]

    @property
    def n_rows(self) -> int:
        """Rows of all segments."""
        return sum(len(segment.tokens) for segment in self.segments)

    @property
    def n_logits(self) -> int:
        """Rows that give logits."""
        return sum(len(segment.logit_rows) for segment in self.segments)

    @property
    def passes(self) -> tuple[Batch, Batch]:
        """The texts that an encoder reads, and the other segments."""
        texts = tuple(segment for segment in self.segments if segment.encodes)
        others = tuple(segment for segment in self.segments if not segment.encodes)
        return Batch(texts), Batch(others)

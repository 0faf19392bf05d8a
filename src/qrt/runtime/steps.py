"""One step: rows of several sequences, as the executor takes them."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qrt.backends.base import Executor
from qrt.graph.batch import Batch, Segment
from qrt.runtime.sequence import Sequence
from qrt.runtime.store import Store

Logits = NDArray[np.float32]

NO_LOGITS: Final[NDArray[np.int32]] = np.zeros(0, np.int32)
_ONLY_ROW: Final[NDArray[np.int32]] = np.zeros(1, np.int32)


@dataclass(slots=True)
class Rows:
    """Tokens that a step appends to a sequence, and which of their rows give logits.

    `types` are those of the tokens; None: all are of type 0.
    """

    seq: Sequence
    tokens: list[int]
    logit_rows: NDArray[np.int32]  # (n_logits,)
    types: NDArray[np.int32] | None = None  # (n_tokens,)


def last_rows(n_rows: int, n_logits: int) -> NDArray[np.int32]:
    """The last `n_logits` of `n_rows` rows."""
    if n_logits == 1 == n_rows:
        return _ONLY_ROW
    return np.arange(n_rows - n_logits, n_rows, dtype=np.int32)


def run_step(executor: Executor, store: Store, rows: Items[Rows]) -> Logits:
    """Computes the rows; logits (n_logits, n_vocab), valid until the next step.

    What it wrote counts once `store.commit` was called for the sequence. Raises ClosedError for a
    sequence that was released, BackendError if there are too few pages, and what `step` raises.
    """
    segments = []
    for part in rows:
        seq, tokens = part.seq, part.tokens
        store.check(seq)
        tables = store.begin(seq, len(tokens))
        ids = np.array(tokens, np.int32)
        more = part.logit_rows, part.types, seq.scales, seq.n_encoded
        segments.append(Segment(ids, len(seq.tokens), tables, *more))
    return executor.step(Batch(tuple(segments)))

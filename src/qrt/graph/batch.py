"""What one step takes: rows of any sequences, where their KV pages lie, whose logits to return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["prefill", "decode"]

PAGE_LEN = 64
"""Positions per KV page."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step.

    Row t holds token `tokens[t]` at `positions[t]` of the sequence whose page ids, in order of
    position, are `page_tables[table_of[t]]`: position p lies in page `p // PAGE_LEN`, slot
    `p % PAGE_LEN`. Rows of one sequence are in rising order of position.
    """

    tokens: NDArray[np.int32]  # (n_tokens,)
    positions: NDArray[np.int32]  # (n_tokens,)
    table_of: NDArray[np.int32]  # (n_tokens,)
    page_tables: tuple[NDArray[np.int32], ...]
    logit_rows: NDArray[np.int32]  # (n_logits,) rising row numbers

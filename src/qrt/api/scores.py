"""How likely a model finds the tokens of a prompt itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qrt.errors import ContextFullError
from qrt.runtime.records import TopLogprobs

if TYPE_CHECKING:
    from qrt.api.model import Model

_MAX_LOGITS_BYTES = 2 << 30


def prompt_logprobs(
    model: Model, ids: Sequence[int], n_top: int
) -> list[tuple[float, TopLogprobs]]:
    """(logprob, the `n_top` likeliest in its place) of each token but the first, of which nothing
    is known. Raises ContextFullError if their logits would not fit in memory."""
    most = _MAX_LOGITS_BYTES // (4 * model.info.n_vocab)
    if len(ids) > most:
        raise ContextFullError(
            f"prompt has {len(ids)} tokens; log probabilities can be given of {most} at most"
        )
    logits = model.logits(ids)
    found = []
    for row, token in zip(logits, ids[1:], strict=False):
        row -= row.max()
        row -= np.log(np.exp(row).sum())
        best = np.argsort(-row, kind="stable")[:n_top].tolist()
        found.append((float(row[token]), tuple((other, float(row[other])) for other in best)))
    return found

"""Log probabilities of a prompt's own tokens, for answers that repeat the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qrt.api.model import Model
from qrt.compat.llama_cpp.responses import Pieces


def prompt_pieces(
    model: Model, ids: Sequence[int], n_top: int, piece: Callable[[int], str]
) -> Pieces:
    """The tokens of a prompt but for BOS; of the first nothing is known."""
    logits = model.logits(ids)
    n_hidden = int(ids[0] == model.tokenizer.bos_id)
    logprobs: list[float | None] = [None]
    tops: list[dict[str, float] | None] = [None]
    for i in range(n_hidden + 1, len(ids)):
        row = logits[i - 1] - logits[i - 1].max()
        row -= np.log(np.exp(row).sum())
        best = np.argsort(-row, kind="stable")[:n_top].tolist()
        own = float(row[ids[i]])
        logprobs.append(own)
        tops.append({**{piece(t): float(row[t]) for t in best}, piece(ids[i]): own})
    texts = [piece(token) for token in ids[n_hidden:]]
    return Pieces(texts, logprobs[: len(texts)], tops[: len(texts)])

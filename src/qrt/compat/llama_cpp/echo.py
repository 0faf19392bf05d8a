"""Log probabilities of a prompt's own tokens, for answers that repeat the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qrt.api.model import Model
from qrt.api.scores import prompt_logprobs
from qrt.compat.llama_cpp.responses import Pieces


def prompt_pieces(
    model: Model, ids: Sequence[int], n_top: int, piece: Callable[[int], str]
) -> Pieces:
    """The tokens of a prompt but for BOS; of the first nothing is known."""
    n_hidden = int(ids[0] == model.tokenizer.bos_id)
    logprobs: list[float | None] = [None]
    tops: list[dict[str, float] | None] = [None]
    scores = prompt_logprobs(model, ids, n_top)[n_hidden:]
    for token, (own, top) in zip(ids[n_hidden + 1 :], scores, strict=True):
        logprobs.append(own)
        tops.append({**{piece(other): logprob for other, logprob in top}, piece(token): own})
    texts = [piece(token) for token in ids[n_hidden:]]
    return Pieces(texts, logprobs[: len(texts)], tops[: len(texts)])

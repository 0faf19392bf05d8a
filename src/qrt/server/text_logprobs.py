"""`logprobs` of OpenAI's text completions: lists by token, with offsets into the text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qrt.runtime.records import TokenRecord, TopLogprobs
from qrt.text import Tokenizer


class TextLogprobs:
    """Makes the `logprobs` of one choice, part by part; `offset` counts the characters so far."""

    def __init__(self, tokenizer: Tokenizer, offset: int) -> None:
        self._tokenizer = tokenizer
        self._offset = offset

    def of_records(self, records: Iterable[TokenRecord]) -> dict[str, Any]:
        """Of tokens of the answer, but for those that end it."""
        shown = [record for record in records if record.token not in self._tokenizer.eog_ids]
        return self._part([(r.token, r.logprob, r.top_logprobs) for r in shown])

    def of_prompt(
        self, ids: Sequence[int], scores: Sequence[tuple[float, TopLogprobs]]
    ) -> dict[str, Any]:
        """Of tokens of the prompt but for BOS; `scores` of all but the first."""
        n_hidden = int(ids[0] == self._tokenizer.bos_id)
        rows = [(ids[0], None, ()), *((t, *s) for t, s in zip(ids[1:], scores, strict=True))]
        return self._part(rows[n_hidden:])

    def _part(self, rows: Iterable[tuple[int, float | None, TopLogprobs]]) -> dict[str, Any]:
        part: dict[str, Any] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token, logprob, top in rows:
            text = self._piece(token)
            known = logprob is not None
            likeliest = {self._piece(other): value for other, value in top}
            part["tokens"].append(text)
            part["token_logprobs"].append(logprob)
            part["top_logprobs"].append({**likeliest, text: logprob} if known else None)
            part["text_offset"].append(self._offset)
            self._offset += len(text)
        return part

    def _piece(self, token: int) -> str:
        return self._tokenizer.token_bytes(token).decode("utf-8", "replace")


def joined(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Several parts as one."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, values in part.items():
            whole[name] = [*whole.get(name, ()), *values]
    return whole

"""The dictionaries that llama-cpp-python answers with, which are those of OpenAI's interface."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from qrt.runtime.records import TokenRecord

Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Tokens with their log probabilities; None where the model was not asked."""

    texts: Sequence[str]
    logprobs: Sequence[float | None]
    tops: Sequence[dict[str, float] | None]

    def __add__(self, other: Pieces) -> Pieces:
        return Pieces(
            [*self.texts, *other.texts],
            [*self.logprobs, *other.logprobs],
            [*self.tops, *other.tops],
        )


class Answer:
    """Records of a generation as a response, whole or in chunks."""

    prefix = ""

    def __init__(
        self, model: str, end_ids: frozenset[int], piece: Callable[[int], str] | None
    ) -> None:
        """`end_ids` are tokens that are no part of the answer; `piece` gives the text of a token
        where log probabilities are wanted, else it is None."""
        self._head = {
            "id": f"{self.prefix}{uuid.uuid4()}",
            "created": int(time.time()),
            "model": model,
        }
        self._end_ids = end_ids
        self._piece = piece

    def chunks(self, records: Iterable[TokenRecord]) -> Iterator[Response]:
        """A chunk for each piece of text, and one that says why it ended."""
        for record in records:
            pieces = self.pieces([record])
            if record.text or (pieces is not None and pieces.texts):
                yield self.chunk(record.text, pieces, None)
            if record.finish_reason is not None:
                yield self.chunk("", None, record.finish_reason)

    def whole(self, records: Iterable[TokenRecord]) -> Response:
        """All of it at once."""
        records = list(records)
        text = "".join(record.text for record in records)
        last = records[-1]
        assert last.timings is not None
        n_prompt = last.timings.n_prompt_tokens
        n_tokens = len(self._shown(records))
        return {
            **self.message(text, self.pieces(records), last.finish_reason),
            "usage": {
                "prompt_tokens": n_prompt,
                "completion_tokens": n_tokens,
                "total_tokens": n_prompt + n_tokens,
            },
        }

    def chunk(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        """One part of the answer."""
        raise NotImplementedError

    def message(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        """The whole answer, but for its `usage`."""
        raise NotImplementedError

    def pieces(self, records: Sequence[TokenRecord]) -> Pieces | None:
        """The tokens of records, each listed among the likeliest in its place."""
        piece = self._piece
        if piece is None:
            return None
        shown = self._shown(records)
        texts = [piece(record.token) for record in shown]
        tops = [
            {**{piece(token): logprob for token, logprob in record.top_logprobs}, text: own}
            for record, text in zip(shown, texts, strict=True)
            for own in (record.logprob,)
        ]
        return Pieces(texts, [record.logprob for record in shown], tops)

    def _shown(self, records: Sequence[TokenRecord]) -> list[TokenRecord]:
        return [record for record in records if record.token not in self._end_ids]


class TextAnswer(Answer):
    """Of `create_completion`. What it echoes comes before the answer in `message`."""

    prefix = "cmpl-"

    def __init__(
        self, *common: Any, start: int, echoed: str, of_echo: Pieces | None, suffix: str
    ) -> None:
        """start: characters before the answer's first; of_echo: the tokens of what is echoed;
        suffix: put behind a whole answer."""
        super().__init__(*common)
        self._start = start
        self._echoed = echoed
        self._of_echo = of_echo
        self._suffix = suffix

    def chunk(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        logprobs = self._logprobs(pieces, self._start)
        self._start += sum(map(len, pieces.texts)) if pieces is not None else 0
        return self._part(text, logprobs, finish)

    def message(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        if pieces is not None and self._of_echo is not None:
            pieces = self._of_echo + pieces
        logprobs = self._logprobs(pieces, 0 if self._echoed else self._start)
        return self._part(self._echoed + text + self._suffix, logprobs, finish)

    def _part(self, text: str, logprobs: Response | None, finish: str | None) -> Response:
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "text_completion", "choices": [choice]}

    def _logprobs(self, pieces: Pieces | None, start: int) -> Response | None:
        if pieces is None:
            return None
        *offsets, _ = accumulate(map(len, pieces.texts), initial=start)
        return {
            "tokens": list(pieces.texts),
            "text_offset": offsets,
            "token_logprobs": list(pieces.logprobs),
            "top_logprobs": list(pieces.tops),
        }


class ChatAnswer(Answer):
    """Of `create_chat_completion`."""

    prefix = "chatcmpl-"

    def chunks(self, records: Iterable[TokenRecord]) -> Iterator[Response]:
        for i, chunk in enumerate(super().chunks(records)):
            if i == 0:
                yield self._part({"role": "assistant"}, None, None)
            yield chunk

    def chunk(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        return self._part({"content": text} if finish is None else {}, pieces, finish)

    def message(self, text: str, pieces: Pieces | None, finish: str | None) -> Response:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": self._logprobs(pieces),
            "finish_reason": finish,
        }
        return {**self._head, "object": "chat.completion", "choices": [choice]}

    def _part(self, delta: Response, pieces: Pieces | None, finish: str | None) -> Response:
        logprobs = self._logprobs(pieces)
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprobs(self, pieces: Pieces | None) -> Response | None:
        if pieces is None:
            return None
        rows = zip(pieces.texts, pieces.logprobs, pieces.tops, strict=True)
        content = [
            {
                **_entry(text, logprob),
                "top_logprobs": [_entry(*other) for other in (top or {}).items()],
            }
            for text, logprob, top in rows
        ]
        return {"content": content, "refusal": None}


def _entry(token: str, logprob: float | None) -> Response:
    return {"token": token, "logprob": logprob, "bytes": None}

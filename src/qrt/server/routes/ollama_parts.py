"""One answer as Ollama tells it: as it comes, and whole."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from qrt.replies import CallArguments, CallBegun, CallEnded, Text, Thought
from qrt.runtime.records import TokenRecord
from qrt.server.answers import Answer, Piece
from qrt.server.openai import spelled_token
from qrt.server.routes.ollama_bodies import Asked
from qrt.server.timings import timings_of
from qrt.server.wholes import arguments_of

_REASONS = {"stop": "stop", "tool_calls": "stop", "length": "length"}
_NS = 1e9
_NS_OF_MS = 1e6


def stamp(seconds: float | None = None) -> str:
    """A time, by default now, as Ollama writes it."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat().replace("+00:00", "Z")


class Parts(ABC):
    """An answer as it comes; what a kind of request calls its parts is the difference."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._arguments: list[str] = []
        self._logprobs: list[dict[str, Any]] = []

    @abstractmethod
    def said(self, text: str, thoughts: str, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What was said, by the names of the request's kind."""

    def push(self, answer: Answer, piece: Piece) -> list[dict[str, Any]]:
        """What a token brings to the stream."""
        record, events = piece
        logprobs = {}
        if self._asked.logprobs:
            logprobs = {"logprobs": [_logprob(answer, record)]}
            self._logprobs += logprobs["logprobs"]
        parts = []
        for event in events:
            match event:
                case Text(text):
                    self._text.append(text)
                    parts.append(self.said(text, "", ()))
                case Thought(text):
                    self._thoughts.append(text)
                    parts.append(self.said("", text, ()))
                case CallBegun(_, call_id, name):
                    self._arguments = []
                    function = {"index": len(self._calls), "name": name, "arguments": {}}
                    self._calls.append({"id": call_id, "function": function})
                case CallArguments(_, text):
                    self._arguments.append(text)
                case CallEnded():
                    call = self._calls[-1]
                    call["function"]["arguments"] = arguments_of("".join(self._arguments))
                    parts.append(self.said("", "", [call]))
        head = {"model": self._asked.model, "created_at": stamp()}
        return [{**head, **part, "done": False, **logprobs} for part in parts]

    def end(self, answer: Answer, started: float) -> dict[str, Any]:
        """The last line of a stream: why the answer ended, and what it took."""
        return {
            "model": self._asked.model,
            "created_at": stamp(),
            **self.said("", "", ()),
            "done": True,
            "done_reason": _REASONS[answer.finish_reason],
            **_durations(answer, started),
        }

    def whole(self, answer: Answer, started: float) -> dict[str, Any]:
        """All of it."""
        said = self.said("".join(self._text), "".join(self._thoughts), self._calls)
        logprobs = {"logprobs": self._logprobs} if self._asked.logprobs else {}
        return {**self.end(answer, started), **said, **logprobs}


class Chatted(Parts):
    """An answer to a chat."""

    def said(self, text: str, thoughts: str, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A message."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thoughts:
            message["thinking"] = thoughts
        if calls:
            message["tool_calls"] = list(calls)
        return {"message": message}


class Generated(Parts):
    """An answer to a prompt."""

    def said(self, text: str, thoughts: str, _: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A text."""
        return {"response": text, "thinking": thoughts} if thoughts else {"response": text}


def _durations(answer: Answer, started: float) -> dict[str, int]:
    """In nanoseconds. The model was loaded before the clock of the request ran."""
    timings = timings_of(answer.timings)
    return {
        "total_duration": int((time.perf_counter() - started) * _NS),
        "load_duration": 0,
        "prompt_eval_count": len(answer.asked.tokens),
        "prompt_eval_duration": int(timings["prompt_ms"] * _NS_OF_MS),
        "eval_count": answer.n_tokens,
        "eval_duration": int(timings["predicted_ms"] * _NS_OF_MS),
    }


def _logprob(answer: Answer, record: TokenRecord) -> dict[str, Any]:
    tokenizer = answer.asked.served.model.tokenizer
    own = spelled_token(tokenizer, record.token, record.logprob)
    if record.top_logprobs:
        own["top_logprobs"] = [spelled_token(tokenizer, *top) for top in record.top_logprobs]
    return own

"""Answers of a chat that may call tools, as llama-cpp-python has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qrt.compat.llama_cpp.responses import ChatAnswer, Response
from qrt.replies import CallArguments, CallBegun, Event, Reader, Text
from qrt.runtime.records import TokenRecord


class ToolAnswer(ChatAnswer):
    """Of `create_chat_completion` with tools; `reader` tells calls from the text, without thoughts.

    It is set when the stream has begun.
    """

    reader: Reader

    def chunks(self, records: Iterable[TokenRecord]) -> Iterator[Response]:
        yield self._part({"role": "assistant"}, None, None)
        calls = False
        for record in records:
            events = self._events(record)
            calls = calls or any(isinstance(event, CallBegun) for event in events)
            for event in events:
                delta = _delta(event)
                if delta:
                    yield self._part(delta, None, None)
            if record.finish_reason is not None:
                yield self._part({}, None, _finish(record, calls))

    def whole(self, records: Iterable[TokenRecord]) -> Response:
        kept: list[TokenRecord] = []
        events: list[Event] = []
        for record in records:
            kept.append(record)
            events += self._events(record)
        response = super().whole(kept)
        choice = response["choices"][0]
        text = "".join(event.text for event in events if isinstance(event, Text))
        calls = _calls(events)
        choice["message"]["content"] = text or (None if calls else "")
        if calls:
            choice["message"]["tool_calls"] = calls
        choice["finish_reason"] = _finish(kept[-1], bool(calls))
        return response

    def _events(self, record: TokenRecord) -> list[Event]:
        events = self.reader.push(record)
        return events if record.finish_reason is None else [*events, *self.reader.flush()]


def _finish(last: TokenRecord, calls: bool) -> str | None:
    return "tool_calls" if calls and last.finish_reason == "stop" else last.finish_reason


def _delta(event: Event) -> Response | None:
    if isinstance(event, Text):
        return {"content": event.text}
    if isinstance(event, CallBegun):
        return {"tool_calls": [{"index": event.index, **_call(event)}]}
    if isinstance(event, CallArguments):
        function = {"name": None, "arguments": event.text}
        return {"tool_calls": [{"index": event.index, "function": function}]}
    return None


def _call(event: CallBegun) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": "function",
        "function": {"name": event.name, "arguments": ""},
    }


def _calls(events: Sequence[Event]) -> list[dict[str, Any]]:
    calls = [_call(event) for event in events if isinstance(event, CallBegun)]
    for event in events:
        if isinstance(event, CallArguments):
            calls[event.index]["function"]["arguments"] += event.text
    return calls

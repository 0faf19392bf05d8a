"""The items of OpenAI's responses, and the events that tell of them as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from qrt.replies import CallArguments, CallBegun, CallEnded, Event, Text, Thought
from qrt.server.answers import Answer
from qrt.server.openai import new_id, now
from qrt.server.stream import sse
from qrt.server.timings import progress_of, timings_of
from qrt.server.wholes import Whole

_PREFIX = {"reasoning": "rs_", "message": "msg_", "function_call": "fc_"}
_EMPTY: dict[str, dict[str, Any]] = {
    "reasoning": {"summary": [], "content": []},
    "message": {"role": "assistant", "content": []},
    "function_call": {},
}
_PART = {"reasoning": "reasoning_text", "message": "output_text"}
"""The type of an item's only part, after which its events are named."""
_PART_FIELDS: dict[str, dict[str, Any]] = {"reasoning": {}, "message": {"annotations": []}}


class Script:
    """One response: `finished` gives it whole, `events` as it comes."""

    def __init__(
        self, answer: Answer, echoed: dict[str, Any], *, tells_timings: bool = False
    ) -> None:
        """echoed: what it says of its request. tells_timings: with each piece of text."""
        self._answer = answer
        self._tells_timings = tells_timings
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._response: dict[str, Any] = {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": now(),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": answer.asked.model,
            "output": self._output,
            "previous_response_id": None,
            "usage": None,
            **echoed,
        }

    def finished(self, done: Whole) -> dict[str, Any]:
        """The response to an answer that is whole."""
        for event in _events_of(done):
            for _ in self._told(event):
                pass
        for _ in self._closed():
            pass
        return self._ended()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The response as server-sent events, in OpenAI's order."""
        opening = [
            self._event("response.created", response=self._response),
            self._event("response.in_progress", response=self._response),
        ]
        async with aclosing(self._answer.progress()) as told:
            async for progress in told:
                while opening:
                    yield opening.pop(0)
                yield self._event(
                    "response.in_progress",
                    response=self._response,
                    prompt_progress=progress_of(progress),
                )
        async with aclosing(self._answer.pieces()) as batches:
            async for pieces in batches:
                said = [event for piece in pieces for event in piece.events]
                yield b"".join(opening + [chunk for event in said for chunk in self._told(event)])
                opening = []
        yield b"".join(self._closed())
        response = self._ended()
        timings = timings_of(self._answer.timings)
        yield self._event(f"response.{response['status']}", response=response, timings=timings)

    def _ended(self) -> dict[str, Any]:
        answer = self._answer
        n_prompt, n_cached = len(answer.asked.tokens), answer.timings.n_cached_tokens
        self._response["usage"] = {
            "input_tokens": n_prompt,
            "input_tokens_details": {"cached_tokens": n_cached},
            "output_tokens": answer.n_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.n_thought_tokens},
            "total_tokens": n_prompt + answer.n_tokens,
        }
        if answer.finish_reason == "length":
            self._response["status"] = "incomplete"
            self._response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self._response["status"] = "completed"
        return self._response

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return sse({"type": kind, "sequence_number": number, **fields}, kind)

    def _told(self, event: Event) -> Iterator[bytes]:
        if isinstance(event, Text | Thought):
            kind = "message" if isinstance(event, Text) else "reasoning"
            if self._open is None or self._open["type"] != kind:
                yield from self._closed()
                yield from self._opened(kind)
            assert self._open is not None
            self._open["content"][0]["text"] += event.text
            timings = {"timings": timings_of(self._answer.so_far)} if self._tells_timings else {}
            yield self._of_part("delta", delta=event.text, **timings)
        elif isinstance(event, CallBegun):
            yield from self._closed()
            call = {"call_id": event.id, "name": event.name, "arguments": ""}
            yield from self._opened("function_call", **call)
        elif isinstance(event, CallArguments):
            assert self._open is not None
            self._open["arguments"] += event.text
            yield self._of_item("function_call_arguments.delta", delta=event.text)
        elif isinstance(event, CallEnded):
            yield from self._closed()

    def _opened(self, kind: str, **fields: Any) -> Iterator[bytes]:
        """Begins an item."""
        item = {"id": new_id(_PREFIX[kind]), "type": kind, "status": "in_progress", **fields}
        item.update(_EMPTY[kind])
        self._output.append(item)
        self._open = item
        yield self._of_output("added")
        if kind in _PART:
            item["content"] = [{"type": _PART[kind], "text": "", **_PART_FIELDS[kind]}]
            yield self._of_item("content_part.added", content_index=0, part=item["content"][0])

    def _closed(self) -> Iterator[bytes]:
        """Ends the item that is open, if one is."""
        item = self._open
        if item is None:
            return
        if item["type"] in _PART:
            part = item["content"][0]
            yield self._of_part("done", text=part["text"])
            yield self._of_item("content_part.done", content_index=0, part=part)
        else:
            arguments = {"name": item["name"], "arguments": item["arguments"]}
            yield self._of_item("function_call_arguments.done", **arguments)
        item["status"] = "completed"
        yield self._of_output("done")
        self._open = None

    def _of_output(self, what: str) -> bytes:
        place = len(self._output) - 1
        return self._event(f"response.output_item.{what}", output_index=place, item=self._open)

    def _of_item(self, what: str, **fields: Any) -> bytes:
        assert self._open is not None
        place = {"item_id": self._open["id"], "output_index": len(self._output) - 1}
        return self._event(f"response.{what}", **place, **fields)

    def _of_part(self, what: str, **fields: Any) -> bytes:
        assert self._open is not None
        kind = self._open["type"]
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return self._of_item(f"{_PART[kind]}.{what}", content_index=0, **fields, **logprobs)


def _events_of(done: Whole) -> Iterator[Event]:
    if done.thoughts:
        yield Thought(done.thoughts)
    if done.text or not done.calls:
        yield Text(done.text)
    for i, call in enumerate(done.calls):
        yield CallBegun(i, call.id, call.name)
        yield CallArguments(i, call.arguments)
        yield CallEnded(i)

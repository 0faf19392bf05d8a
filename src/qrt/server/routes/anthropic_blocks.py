"""An answer as the content blocks of the Messages API, whole and as the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qrt.replies import CallArguments, CallBegun, CallEnded, Event, Text, Thought
from qrt.server.wholes import arguments_of

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
"""By type of block: the type of what is added to it, and the key of the added text."""


class Blocks:
    """The blocks of one answer. Each event of the answer is pushed, then `close` ends the last;
    `content` has then all of them, and both give what a stream says of it.
    """

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._open = ""
        self._pieces: list[str] = []

    def push(self, event: Event) -> Iterator[dict[str, Any]]:
        """What the event adds."""
        match event:
            case CallBegun(_, call_id, name):
                block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
                yield from self._begin(block)
            case CallArguments(_, text):
                yield from self._add(text)
            case CallEnded():
                yield from self.close()
            case Text(text):
                if self._open != "text":
                    yield from self._begin({"type": "text", "text": ""})
                yield from self._add(text)
            case Thought(text):
                if self._open != "thinking":
                    yield from self._begin({"type": "thinking", "thinking": "", "signature": ""})
                yield from self._add(text)

    def close(self) -> Iterator[dict[str, Any]]:
        """Ends the block that is open, if one is."""
        if not self._open:
            return
        text, block = "".join(self._pieces), self.content[-1]
        if self._open == "tool_use":
            block["input"] = arguments_of(text)
        else:
            block[self._open] = text
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": ""})
        yield {"type": "content_block_stop", "index": len(self.content) - 1}
        self._open = ""

    def _begin(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self.close()
        self.content.append(block)
        self._open, self._pieces = block["type"], []
        index = len(self.content) - 1
        yield {"type": "content_block_start", "index": index, "content_block": dict(block)}

    def _add(self, text: str) -> Iterator[dict[str, Any]]:
        self._pieces.append(text)
        kind, key = _DELTAS[self._open]
        yield self._delta({"type": kind, key: text})

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        index = len(self.content) - 1
        return {"type": "content_block_delta", "index": index, "delta": delta}

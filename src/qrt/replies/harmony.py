"""Replies of gpt-oss: messages, each with a header that says what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qrt.replies.calls import Calls
from qrt.replies.events import Event, Text, Thought
from qrt.replies.marks import Item, Mark, shown
from qrt.text import Tokenizer

HEAD = ("<|start|>", "<|channel|>", "<|constrain|>")
BODY = "<|message|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
MARKS = (*HEAD, BODY, *ENDS)
FINAL = "<|channel|>final<|message|>"
"""How the message that answers begins."""
_THOUGHTS = ("analysis", "commentary")
_TO = "to="
_MAX_HEADER = 512
_TAIL = 32
"""Tokens at the end of a prompt in which a template may have begun a message."""


class Harmony:
    """Tells thoughts, answer and calls of one reply apart.

    Thoughts are the channels analysis and commentary; a message to a tool that was offered is a
    call, one to anything else is text, header and all.
    """

    def __init__(self, calls: Calls | None, begun: Sequence[Item] = ()) -> None:
        """calls: what reads calls, if tools were offered; begun: the message that the prompt
        begins, without <|start|> and its role."""
        self._calls = calls
        self._header: list[Item] | None = []
        """Of the message whose header is read; None within a body."""
        self._kind: type[Text] | type[Thought] = Text
        self._is_call = False
        """Whether the message is to someone."""
        for item in begun:
            self.push(item)

    def push(self, item: Item) -> list[Event]:
        """The events that are complete with an item."""
        if self._header is None:
            return self._in_body(item)
        if isinstance(item, Mark) and item.name == BODY:
            return self._begin_body([*self._header, item])
        if isinstance(item, Mark) and item.name in ENDS:
            self._header = []
            return []
        if self._header and isinstance(item, str) and isinstance(self._header[-1], str):
            item = self._header.pop() + item  # type: ignore[operator]
        self._header.append(item)
        if self._is_no_header():
            return self._given_back()
        return []

    def flush(self) -> list[Event]:
        """What was held back."""
        events: list[Event] = []
        if self._header and not any(isinstance(item, Mark) for item in self._header):
            events = self._given_back()
        return [*events, *(self._calls.flush() if self._calls else [])]

    def _in_body(self, item: Item) -> list[Event]:
        if isinstance(item, Mark) and item.name in (*ENDS, *HEAD[:2]):
            self._header = [item] if item.name in HEAD else []
            return self._calls.flush() if self._calls else []
        if self._calls is not None and self._is_call:
            return self._calls.push(item)
        return [self._kind(shown(item))]

    def _begin_body(self, header: list[Item]) -> list[Event]:
        self._header = None
        channel, recipient = _meaning(header)
        self._is_call = recipient is not None
        self._kind = Thought if channel in _THOUGHTS and recipient is None else Text
        if recipient is None:
            return []
        if self._calls is None:
            return [Text(shown(item)) for item in header]
        return self._calls.begin(recipient, "".join(map(shown, header)))

    def _is_no_header(self) -> bool:
        """Whether text came where a header would stand."""
        assert self._header is not None
        text = "".join(item for item in self._header if isinstance(item, str))
        if len(text) > _MAX_HEADER:
            return True
        if isinstance(self._header[0], Mark):
            return False
        start = text.lstrip()
        return not (start.startswith(_TO) or _TO.startswith(start))

    def _given_back(self) -> list[Event]:
        items, self._header = self._header or [], None
        self._kind, self._is_call = Text, False
        return [Text(shown(item)) for item in items]


def _meaning(header: Sequence[Item]) -> tuple[str, str | None]:
    """(channel, to whom) of a header."""
    channel, recipient = "", None
    behind = ""
    for item in header:
        if isinstance(item, Mark):
            behind = item.name
            continue
        for word in item.split():
            if word.startswith(_TO):
                recipient = word.removeprefix(_TO)
            elif behind == "<|channel|>" and not channel:
                channel = word
    return channel, recipient


def begun(tokenizer: Tokenizer, marks: Mapping[str, int], prompt: Sequence[int]) -> list[Item]:
    """The items of the message that a prompt begins, behind its role; `marks` are tokens."""
    names = {token: name for name, token in marks.items()}
    items: list[Item] = []
    for token in prompt[-_TAIL:]:
        name = names.get(token)
        if name in (*ENDS, "<|start|>"):
            items.clear()
        elif name is not None:
            items.append(Mark(name, name))
        elif items:
            items.append(tokenizer.detokenize([token], special=True, continued=True))
    return items

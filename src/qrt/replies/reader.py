"""What tells the parts of a reply, for the model at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qrt.replies import harmony
from qrt.replies.calls import Calls
from qrt.replies.events import Event, Text, merged
from qrt.replies.forms import FORMS, family_of
from qrt.replies.harmony import Harmony
from qrt.replies.marks import Cutter, Item, shown
from qrt.replies.said import new_id
from qrt.replies.thoughts import MARKS, Thoughts, opened
from qrt.replies.tools import schemas
from qrt.runtime.records import TokenRecord
from qrt.text import Tokenizer


class Reader:
    """Takes the records of one reply; gives events. A reply is the same events however it is cut
    into records, once neighbours are put together (`merged`)."""

    def __init__(self, cutter: Cutter, parts: _Parts | Harmony) -> None:
        self._cutter = cutter
        self._parts = parts

    def push(self, record: TokenRecord) -> list[Event]:
        """The events that are complete with a record."""
        return self.read(record.text, record.token)

    def read(self, text: str, token: int | None = None) -> list[Event]:
        """The events that are complete with a text and the token that it came with."""
        return self._told(self._cutter.push(text, token))

    def flush(self) -> list[Event]:
        """What is left when no more comes."""
        return merged([*self._told(self._cutter.flush()), *self._parts.flush()])

    def _told(self, items: Sequence[Item]) -> list[Event]:
        return merged([event for item in items for event in self._parts.push(item)])


class _Parts:
    """Thoughts first, then text and calls."""

    def __init__(self, thoughts: Thoughts, calls: Calls | None) -> None:
        self._thoughts = thoughts
        self._calls = calls

    def push(self, item: Item) -> list[Event]:
        events, answer = self._thoughts.push(item)
        return [*events, *self._answer(answer)]

    def flush(self) -> list[Event]:
        events, answer = self._thoughts.flush()
        events += self._answer(answer)
        return [*events, *(self._calls.flush() if self._calls else [])]

    def _answer(self, items: Sequence[Item]) -> list[Event]:
        if self._calls is None:
            return [Text(shown(item)) for item in items]
        return [event for item in items for event in self._calls.push(item)]


def plain_reader() -> Reader:
    """What reads a reply of no known model: it has thoughts and text, and all marks are text."""
    return Reader(Cutter(None, MARKS), _Parts(Thoughts(), None))


def reader_of(
    tokenizer: Tokenizer,
    template_source: str,
    prompt_tokens: Sequence[int],
    tools: Sequence[Mapping[str, Any]] = (),
    make_id: Callable[[], str] = new_id,
) -> Reader:
    """What reads the reply to a prompt.

    template_source: of the chat template that made the prompt; tools: those that were offered, in
    JSON form; without any there are no calls. Raises InputError for a malformed tool.
    """
    family = family_of(tokenizer, template_source)
    form = FORMS[family]
    calls = Calls(form, schemas(tools), make_id) if tools else None
    if family == "harmony":
        cutter = Cutter(tokenizer, harmony.MARKS)
        return Reader(
            cutter, Harmony(calls, harmony.begun(tokenizer, cutter.tokens, prompt_tokens))
        )
    marks = form.marks if calls else ()
    cutter = Cutter(tokenizer, dict.fromkeys((*MARKS, *marks)), marks if form.is_told else ())
    ending = form.begins if calls and form.ends_thoughts else ()
    are_open = opened(tokenizer, cutter.tokens, prompt_tokens) is not None
    return Reader(cutter, _Parts(Thoughts(ending, are_open=are_open), calls))

"""Tells the calls of tools in an answer from its text."""

from __future__ import annotations

from collections.abc import Callable

from qrt.replies.events import Event
from qrt.replies.forms import Form
from qrt.replies.literals import END, SPACE, Malformed, Reading
from qrt.replies.marks import Item, Mark, shown
from qrt.replies.reading import read_calls, read_message
from qrt.replies.said import Said, Tools, new_id


class Calls:
    """Reads one answer, item by item. What turns out to be no call of one of `tools` is text.

    White space behind a call is no text, nor is it before one with which an answer begins.
    """

    def __init__(self, form: Form, tools: Tools, make_id: Callable[[], str] = new_id) -> None:
        self._form = form
        self._said = Said(tools, make_id)
        self._reading: Reading[Item | None] | None = None
        self._space = ""
        self._is_after_text = False

    @property
    def n_calls(self) -> int:
        """Calls that have begun."""
        return self._said.n_calls

    def push(self, item: Item) -> list[Event]:
        """The events that are complete with an item."""
        if isinstance(item, Mark):
            self._take(item)
        elif self._reading is None and self._is_after_text:
            self._said.text(item)
        else:
            for letter in item:
                self._take(letter)
        return self._said.told()

    def flush(self) -> list[Event]:
        """What is left when no more comes."""
        if self._reading is not None:
            self._is_of_call(END)
        elif not self._said.n_calls:
            self._said.text(self._space)
        self._reading, self._space = None, ""
        return self._said.told()

    def begin(self, recipient: str, header: str) -> list[Event]:
        """Begins a message to a recipient, whose header is given back if that is no tool."""
        self._space = header
        self._start(read_message(recipient, self._said))
        return self._said.told()

    def _take(self, item: Item) -> None:
        """Takes a letter or a mark, as part of a call or of the text."""
        if self._reading is not None and self._is_of_call(item):
            return
        if isinstance(item, Mark) and item.name in self._form.begins:
            self._start(read_calls(self._form, self._said), item)
        elif self._is_after_text:
            self._said.text(shown(item))
        elif isinstance(item, str) and item in SPACE:
            self._space += item
        elif isinstance(item, str) and item in self._form.starts:
            self._start(read_calls(self._form, self._said), item)
        elif shown(item):
            self._text(self._space + shown(item))

    def _text(self, text: str) -> None:
        self._said.text(text)
        self._space = ""
        self._is_after_text = True

    def _start(self, reading: Reading[Item | None], first: Item | None = None) -> None:
        self._said.held, self._space = [self._space], ""
        self._said.attempt()
        self._reading = reading
        self._is_of_call(None)
        if first is not None:
            self._is_of_call(first)

    def _is_of_call(self, item: Item | None) -> bool:
        """Whether what reads a call takes an item, None to begin; one it refuses comes again."""
        assert self._reading is not None
        said = self._said
        text = "" if item is None else shown(item)
        if not said.is_open:
            said.held.append(text)
        try:
            self._reading.send(item)  # type: ignore[arg-type]
        except StopIteration as end:
            self._reading, said.held = None, []
            return end.value is None
        except Malformed:
            self._reading = None
            begins_anew = isinstance(item, Mark) and item.name in self._form.begins
            if said.is_open:
                said.held = [text]
            elif said.is_between and item == END:
                said.held = []
            if begins_anew and said.held:
                said.held.pop()
            self._is_after_text |= any(text.strip() for text in said.held)
            said.give_back()
            return not begins_anew
        return True

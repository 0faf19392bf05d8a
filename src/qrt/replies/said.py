"""What readers of calls have told so far."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from qrt.replies.events import CallArguments, CallBegun, CallEnded, Event, Text
from qrt.replies.literals import Malformed

Tools = Mapping[str, Mapping[str, Any]]
"""The JSON schemas of the parameters of tools, by name."""

_ID_LETTERS: Final = string.ascii_letters + string.digits
_ID_LEN: Final = 9
"""What templates of Mistral models demand."""
_MODEL_ID_LETTERS: Final = frozenset(_ID_LETTERS + "_-.:")
_MAX_ID: Final = 96


def new_id() -> str:
    """The id of a call whose model gives it none."""
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in os.urandom(_ID_LEN))


class Said:
    """Events, made of what a reader of calls tells."""

    def __init__(self, tools: Tools, make_id: Callable[[], str]) -> None:
        self.tools = tools
        self.n_calls = 0
        """Calls that have begun."""
        self.is_open = False
        """Whether a call has begun and not ended."""
        self.held: list[str] = []
        """The text read since it was last known to be of a call; it is given back if it is not."""
        self.is_between = False
        """Whether all that was read belongs to calls that have ended."""
        self.schema: Mapping[str, Any] = {}
        """Of the arguments of the last call that has begun."""
        self._make_id = make_id
        self._ids: set[str] = set()
        self._has_arguments = False
        self._events: list[Event] = []

    def told(self) -> list[Event]:
        """The events since this was last asked."""
        events, self._events = self._events, []
        return events

    def text(self, text: str) -> None:
        """Text that is no part of a call."""
        self._events.append(Text(text))

    def attempt(self) -> None:
        """What may be a call follows."""
        self.is_between = False

    def begin(self, name: str, model_id: str = "") -> None:
        """A call begins. Raises Malformed for a name that is none of the tools."""
        if name not in self.tools or self.is_open:
            raise Malformed
        self._events.append(CallBegun(self.n_calls, self._id(model_id), name))
        self.n_calls += 1
        self.schema = self.tools[name]
        self.is_open = True
        self.held.clear()
        self._has_arguments = False

    def argue(self, text: str) -> None:
        """A piece of the arguments of the call that has begun."""
        self._has_arguments = True
        self._events.append(CallArguments(self.n_calls - 1, text))

    def end(self, *, is_complete: bool = True) -> None:
        """The call ends."""
        if is_complete and not self._has_arguments:
            self.argue("{}")
        self._events.append(CallEnded(self.n_calls - 1, is_complete))
        self.is_open = False
        self.is_between = True

    def give_back(self) -> None:
        """What was read is no call: it is text, or breaks off the call that has begun."""
        if self.is_open:
            self.end(is_complete=False)
        self.text("".join(self.held))
        self.held.clear()

    def _id(self, model_id: str) -> str:
        is_usable = 0 < len(model_id) <= _MAX_ID and _MODEL_ID_LETTERS.issuperset(model_id)
        found = model_id if is_usable and model_id not in self._ids else self._make_id()
        self._ids.add(found)
        return found

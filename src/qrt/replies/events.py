"""What a reply consists of, told as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qrt.runtime.records import Plain


@dataclass(frozen=True, slots=True)
class Text(Plain):
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought(Plain):
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun(Plain):
    """The model calls a tool."""

    index: int
    """0, 1 ... in a reply."""
    id: str
    """The model's own where its format has one, else 9 random letters and digits."""
    name: str
    """One of the tools that were offered."""


@dataclass(frozen=True, slots=True)
class CallArguments(Plain):
    """A piece of the JSON text of a call's arguments."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded(Plain):
    """No more arguments come for a call; each that has begun has its end."""

    index: int
    is_complete: bool = True
    """False: the reply broke off within it, or it went on with what is no JSON."""


Event = Text | Thought | CallBegun | CallArguments | CallEnded


def merged(events: Iterable[Event]) -> list[Event]:
    """The events, neighbours of one kind put together; no text is empty."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, CallBegun | CallEnded):
            out.append(event)
        elif event.text:
            last = out[-1] if out else None
            # A call's arguments never follow another's without an event between.
            if isinstance(last, type(event)):
                out[-1] = replace(last, text=last.text + event.text)
            else:
                out.append(event)
    return out

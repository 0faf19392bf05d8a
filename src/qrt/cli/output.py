"""Writes an answer as it comes: as it is where it is piped, rendered and safe in a terminal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

from qrt.cli.arguments import is_terminal
from qrt.cli.render.cells import DIM, PLAIN, cells_of, sgr, wrap
from qrt.cli.render.lines import Lines
from qrt.cli.render.reply import Reply
from qrt.cli.render.screen import Screen, window_of
from qrt.cli.render.thoughts import lines_of_thoughts

if TYPE_CHECKING:
    from qrt.replies import Event, Reader

_BETWEEN_S = 0.03
"""A terminal that is drawn more often only slows the model down."""
_SHARE = 10
"""Drawing takes a tenth of the time at most: the longer it took, the later comes the next."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Shown(NamedTuple):
    """What of an answer is shown, and how."""

    plain: bool = False
    """As it is, but for control characters that a terminal would obey."""
    hide_think: bool = False
    """Thoughts are a single line in a terminal, and nothing elsewhere."""
    timings: bool = False
    """The line of timings behind it."""


ALL = Shown()


class _Part(NamedTuple):
    """A piece of what a model said."""

    text: str
    is_thought: bool


class AnswerWriter:
    """Writes one answer, piece by piece; `end` closes it."""

    def __init__(
        self,
        out: TextIO,
        reader: Reader | None = None,
        shown: Shown = ALL,
        *,
        closing_line: bool = True,
    ) -> None:
        """reader: what tells the thoughts from the answer.

        closing_line: the answer ends its last line, also where it is piped.
        """
        self._out = out
        self._is_terminal = is_terminal(out)
        if reader is None:
            from qrt.replies import plain_reader

            reader = plain_reader()
        self._reader = reader
        self._hides_thoughts = shown.hide_think
        self._drawn = None if shown.plain or not can_draw(out) else _Drawn(out, shown)
        self._closing_line = closing_line or self._is_terminal
        self._answer: list[str] = []
        self._waiting: list[_Part] = []
        self._last = ""
        self._next = 0.0

    @property
    def answer(self) -> str:
        """What was said so far, without thoughts."""
        return "".join(self._answer)

    def write(self, text: str, token: int | None = None) -> None:
        """Adds the text of a token; it is seen at once, or a moment later if much comes."""
        self.take(text, self._reader.read(text, token))

    def take(self, text: str, events: list[Event]) -> None:
        """Adds a text that was told apart already."""
        self._add(text, events)
        start = time.monotonic()
        if start >= self._next:
            self._flush()
            now = time.monotonic()
            self._next = now + max(_BETWEEN_S, _SHARE * (now - start))

    def end(self) -> None:
        """Writes what is left; in a terminal, the cursor is at the start of a line afterwards."""
        self._add("", self._reader.flush())
        self._flush()
        if self._drawn:
            self._drawn.draw(is_end=True)
        elif self._closing_line and self._last not in ("", "\n"):
            self._out.write("\n")
        self._out.flush()

    def _add(self, text: str, events: list[Event]) -> None:
        parts = _parts(events)
        self._answer += [part.text for part in parts if not part.is_thought]
        if self._drawn:
            self._waiting += [_Part(printable(text), is_thought) for text, is_thought in parts]
        elif self._hides_thoughts:
            self._waiting += [part for part in parts if not part.is_thought]
        else:
            self._waiting.append(_Part(text, False))

    def _flush(self) -> None:
        parts, self._waiting = self._waiting, []
        if self._drawn:
            self._drawn.draw(parts)
            return
        text = "".join(part.text for part in parts)
        text = printable(text) if self._is_terminal else text
        self._last = text[-1:] or self._last
        self._out.write(text)
        self._out.flush()


class _Drawn:
    """An answer in a terminal that can draw."""

    def __init__(self, out: TextIO, shown: Shown) -> None:
        has_styles = has_colour(out)
        self._out = out
        self._window = window_of(out)
        self._screen = Screen(out, has_escapes=has_styles)
        self._reply = Reply(
            partial(lines_of_thoughts, has_styles=has_styles, is_folded=shown.hide_think),
            partial(_markdown, has_styles=has_styles),
        )

    def draw(self, parts: Iterable[_Part] = (), *, is_end: bool = False) -> None:
        before, window = self._window, window_of(self._out)
        if window.width != before.width:
            self._window = window
            if not self._screen.fits(min(window.width, before.width)):
                self._screen.leave(new_row=self._reply.cut())
        for part in parts:
            self._reply.push(part.text, is_thought=part.is_thought)
        self._screen.show(*self._reply.rows(window, is_end=is_end), window)


def _parts(events: Iterable[Event]) -> list[_Part]:
    from qrt.replies import Text, Thought

    return [
        _Part(event.text, isinstance(event, Thought))
        for event in events
        if isinstance(event, Text | Thought)
    ]


def _markdown(*, has_styles: bool) -> Lines:
    from qrt.cli.render.markdown import Markdown
    from qrt.cli.render.marked import Marked

    return Markdown() if has_styles else Marked()


def printable(text: str) -> str:
    """`text` without the control characters that could take over a terminal."""
    return _CONTROL.sub("", text)


def can_draw(out: TextIO) -> bool:
    """Whether `out` is a terminal that does more than take characters one after the other."""
    return is_terminal(out) and os.environ.get("TERM") not in ("dumb", "unknown")


def has_colour(out: TextIO) -> bool:
    """Whether `out` shows styles, and the user has not refused them (NO_COLOR, CLICOLOR=0)."""
    is_refused = os.environ.get("NO_COLOR") or os.environ.get("CLICOLOR") == "0"
    return can_draw(out) and not is_refused


def note(out: TextIO, text: str) -> None:
    """Lines that are no part of an answer, dim where styles show, wrapped in a terminal."""
    say(out, printable(text), DIM if has_colour(out) else PLAIN)


def say(out: TextIO, text: str, style: str = PLAIN, hang: int = 0) -> None:
    """Lines of text, wrapped between words in a terminal, `hang` spaces before what is wrapped."""
    if can_draw(out):
        width = window_of(out).width
        rest = cells_of(" " * min(hang, width // 2))
        rows = [
            r for line in text.split("\n") for r in wrap(cells_of(line, style), width, (), rest)
        ]
        text = "\n".join(map(sgr, rows))
    print(text, file=out, flush=True)


def option_rows(options: Mapping[str, object]) -> list[tuple[str, str]]:
    """(name, value) of sampling options."""
    return [
        (name, ";".join(value) if isinstance(value, tuple) else f"{value}")
        for name, value in options.items()
    ]


def byte_size(n_bytes: int) -> str:
    """1572864 as 1.57 MB; units are powers of 1000, as bandwidths are given."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes} bytes"

"""Colours Markdown while it streams: every character is written once, where it stands.

Markers stay visible and nothing is drawn again, so text that turns out not to be Markdown, a narrow
window or a half-finished answer all look right.
"""

from __future__ import annotations

import re

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_CODE = "\x1b[36m"

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]")
_UNDECIDED = re.compile(r" {0,3}(#{0,6}|`{0,2}|~{0,2})$")
"""The start of a line that may still become a fence or a heading."""


class Markdown:
    """Styles code, headings and bold text: `push` pieces of text, then `flush`.

    What comes out, less the escape sequences, is what went in, and does not depend on the pieces.
    """

    def __init__(self) -> None:
        self._start = ""  # of a line, while it is undecided
        self._in_start = True
        self._stars = 0
        self._fence = ""
        self._line_style = ""
        self._bold = False
        self._code = False
        self._style = ""
        self._last = ""

    def push(self, text: str) -> str:
        """What can be written now of all that came."""
        return "".join([self._take(character) for character in text])

    def flush(self) -> str:
        """The rest, and the terminal's style as it was."""
        out = self._decide() if self._in_start else self._end_stars("")
        return out + self._styled("")

    def _take(self, character: str) -> str:
        if not self._in_start:
            return self._inline(character)
        if character == "\n":
            return self._decide() + self._inline(character)
        self._start += character
        return "" if _UNDECIDED.match(self._start) else self._decide()

    def _decide(self) -> str:
        """The start of the line, now that its kind is known."""
        start, self._start, self._in_start = self._start, "", False
        fence = _FENCE.match(start)
        if fence and (not self._fence or fence[1].startswith(self._fence)):
            self._fence = "" if self._fence else fence[1]
            self._line_style = _CODE
        elif self._fence:
            self._line_style = _CODE
        elif _HEADING.match(start):
            self._line_style = _BOLD
        return "".join([self._inline(character) for character in start])

    def _inline(self, character: str) -> str:
        if character == "\n":
            out = self._end_stars("") + self._styled("") + character
            self._bold = self._code = False
            self._line_style, self._last, self._in_start = "", "", True
            return out
        if self._line_style:
            return self._styled(self._line_style) + character
        if character == "*" and not self._code and self._stars < 2:
            self._stars += 1
            return ""
        out = self._end_stars(character)
        style = self._wanted()
        if character == "`":
            style, self._code = _CODE, not self._code
        self._last = character
        return out + self._styled(style) + character

    def _end_stars(self, following: str) -> str:
        """The stars held back, two of which turn bold on before text and off after it."""
        stars, self._stars = self._stars, 0
        if stars == 0:
            return ""
        before = self._wanted()
        if stars == 2:
            if self._bold and not self._last.isspace():
                self._bold = False
            elif not self._bold and following and not following.isspace():
                self._bold = True
        style = before if before else self._wanted()
        self._last = "*"
        return self._styled(style) + "*" * stars

    def _wanted(self) -> str:
        return _CODE if self._code else _BOLD if self._bold else ""

    def _styled(self, style: str) -> str:
        """The escape sequence that changes the terminal to `style`, if it is not there yet."""
        if style == self._style:
            return ""
        change = (_RESET if self._style else "") + style
        self._style = style
        return change

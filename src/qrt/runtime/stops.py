"""Finds stop strings in streamed text, wherever token borders fall."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Holds back text that may be the start of a stop string.

    The match that is complete first counts, the longest of those that end together; so the result
    does not depend on how the text was cut into pieces.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = ""
        """The stop string that came up."""

    def push(self, piece: str) -> tuple[str, bool]:
        """Takes the next piece; the text that may be shown, and whether a stop string came up.

        The stop string and what follows it are dropped.
        """
        text = self._held + piece
        matches = [
            (start + len(stop), start, stop)
            for stop in self._strings
            if (start := text.find(stop)) >= 0
        ]
        if matches:
            self._held = ""
            _, start, self.found = min(matches)
            return text[:start], True
        n_shown = len(text) - max((_overlap(text, stop) for stop in self._strings), default=0)
        self._held = text[n_shown:]
        return text[:n_shown], False

    def flush(self) -> str:
        """The text held back, when no more will come."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper prefix of `stop` that `text` ends with."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

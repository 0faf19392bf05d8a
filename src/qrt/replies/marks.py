"""Cuts a stream of records into text and the marks that structure a reply."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from qrt.text import StreamDecoder, Tokenizer

_NEVER = "(?!)"


class Mark(NamedTuple):
    """A mark in a reply."""

    name: str
    shown: str
    """What of it is in the text: nothing, if it is a control token."""


Item = str | Mark


def shown(item: Item) -> str:
    """What of an item is in the text."""
    return item if isinstance(item, str) else item.shown


class Cutter:
    """Cuts the text of records at `marks`.

    A mark that the vocabulary has as a special token is that token alone, whatever the text may
    spell, unless it is one of `spelled`; any other is text. How the text is divided among tokens
    makes no difference.
    """

    def __init__(
        self, tokenizer: Tokenizer | None, marks: Iterable[str], spelled: Collection[str] = ()
    ) -> None:
        """tokenizer: None: all marks are text."""
        of_token: dict[int, Mark] = {}
        plain: list[str] = []
        for name in marks:
            token = tokenizer.find_special(name) if tokenizer else None
            if token is None or name in spelled:
                plain.append(name)
            if tokenizer is not None and token is not None:
                of_token[token] = Mark(name, "" if tokenizer.is_control(token) else name)
        self.tokens = {mark.name: token for token, mark in of_token.items()}
        """Special tokens by their marks."""
        self._placed = _Placed(tokenizer.stream(), of_token) if tokenizer and of_token else None
        self._spelled = _Spelled(plain)

    def push(self, text: str, token: int | None) -> list[Item]:
        """The items that are complete with the text of a token."""
        return self._found(self._placed.push(text, token) if self._placed else [text])

    def flush(self) -> list[Item]:
        """What is left when no more comes."""
        return [*self._found(self._placed.flush() if self._placed else []), *self._spelled.flush()]

    def _found(self, items: Iterable[Item]) -> list[Item]:
        return [found for item in items if item for found in self._spelled.push(item)]


class _Placed:
    """Puts special tokens where they stand in the text, which comes later than its tokens while it
    may be the start of a stop string."""

    def __init__(self, decoder: StreamDecoder, of_token: dict[int, Mark]) -> None:
        self._decoder = decoder
        self._of_token = of_token
        self._ahead = ""
        """Decoded, but not come."""
        self._held = ""
        """Come, but perhaps within a mark; it is the start of `_ahead`."""
        self._marks: deque[tuple[int, Mark]] = deque()
        """With how many characters of `_ahead` come before each."""

    def push(self, text: str, token: int | None) -> list[Item]:
        if token is not None:
            self._ahead += self._decoder.push(token)
            mark = self._of_token.get(token)
            if mark is not None:
                self._marks.append((len(self._ahead) - len(mark.shown), mark))
        self._held += text
        if self._held == self._ahead and not self._marks:
            text, self._held, self._ahead = self._held, "", ""
            return [text]
        if not self._ahead.startswith(self._held):
            return self._unplaced()
        items: list[Item] = []
        while self._marks:
            n_before, mark = self._marks[0]
            items.append(self._take(min(n_before, len(self._held))))
            if len(self._held) < len(mark.shown) or self._marks[0][0] > 0:
                return items
            self._marks.popleft()
            self._take(len(mark.shown))
            items.append(mark)
        return [*items, self._take(len(self._held))]

    def flush(self) -> list[Item]:
        return [self._held]

    def _take(self, n: int) -> str:
        text, self._held, self._ahead = self._held[:n], self._held[n:], self._ahead[n:]
        self._marks = deque((n_before - n, mark) for n_before, mark in self._marks)
        return text

    def _unplaced(self) -> list[Item]:
        """For text that its tokens do not spell, as that of half a character at the end: marks
        stand where they are spelled, or behind it."""
        items: list[Item] = []
        rest = self._held
        for _, mark in self._marks:
            before, found, behind = rest.partition(mark.shown) if mark.shown else (rest, "", "")
            items += (before, mark)
            rest = behind if found else ""
        self._marks.clear()
        self._ahead = self._held = ""
        return [*items, rest]


class _Spelled:
    """Finds marks in text, the longest of those that begin first."""

    def __init__(self, marks: list[str]) -> None:
        longest_first = sorted(marks, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, longest_first)) or _NEVER)
        self._heads = re.compile("|".join(re.escape(mark[0]) for mark in marks) or _NEVER)
        self._starts = frozenset(mark[:n] for mark in marks for n in range(1, len(mark)))
        self._longest = max(map(len, marks), default=1) - 1
        self._held = ""

    def push(self, item: Item) -> list[Item]:
        if isinstance(item, Mark):
            return [*self.flush(), item]
        if not self._held and self._heads.search(item) is None:
            return [item]
        text = self._held + item
        items: list[Item] = []
        at = 0
        for found in self._any.finditer(text):
            if text[found.start() :] in self._starts:
                break  # a longer one may come of it
            items += (text[at : found.start()], Mark(found.group(), found.group()))
            at = found.end()
        first = max(at, len(text) - self._longest)
        end = next((i for i in range(first, len(text)) if text[i:] in self._starts), len(text))
        self._held = text[end:]
        return [item for item in (*items, text[at:end]) if item]

    def flush(self) -> list[Item]:
        text, self._held = self._held, ""
        items: list[Item] = []
        at = 0
        for found in self._any.finditer(text):
            items += (text[at : found.start()], Mark(found.group(), found.group()))
            at = found.end()
        return [item for item in (*items, text[at:]) if item]

"""Cuts text at special tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A special token in a text."""

    start: int
    end: int
    token: int


class SpecialMatcher:
    """Finds special tokens in text, the leftmost first and there the longest.

    `control` are found only where parsing them is allowed, `always` everywhere. Time is linear in
    the text: at a place where a token may begin, only as many texts are tried as there are lengths
    of tokens with those first two characters.
    """

    def __init__(self, control: Mapping[str, int], always: Mapping[str, int]) -> None:
        self._control = {text: i for text, i in control.items() if text}
        self._always = {text: i for text, i in always.items() if text}
        texts = [*self._control, *self._always]
        by_head: defaultdict[str, set[int]] = defaultdict(set)
        for text in texts:
            by_head[text[:2]].add(len(text))
        for head in by_head:
            if head[0] in by_head:
                by_head[head].add(1)
        self._lengths = {head: sorted(found, reverse=True) for head, found in by_head.items()}
        heads = sorted(self._lengths, key=len, reverse=True)
        self._heads = re.compile("|".join(map(re.escape, heads))) if heads else None

    def find(self, text: str, allowed: Sequence[tuple[int, int]]) -> Iterator[Found]:
        """The special tokens in `text`, without overlaps.

        A control token counts only where it lies wholly in one of the `allowed` (start, end)
        ranges, which are sorted and do not touch.
        """
        if self._heads is None:
            return
        starts = [start for start, _ in allowed]
        at = 0
        while (head := self._heads.search(text, at)) is not None:
            at = head.start()
            zone = bisect_right(starts, at) - 1
            limit = allowed[zone][1] if zone >= 0 else 0
            for length in self._lengths[head[0]]:
                candidate = text[at : at + length]
                token = self._always.get(candidate)
                if token is None and at + length <= limit:
                    token = self._control.get(candidate)
                if token is not None:
                    yield Found(at, at + length, token)
                    at += length
                    break
            else:
                at += 1

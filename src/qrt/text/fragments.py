"""Cuts text at special tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_NEVER = r"(?!)"


@dataclass(frozen=True)
class TokenSpan:
    """A special token in a text."""

    start: int
    end: int
    token: int


class SpecialMatcher:
    """Finds special tokens in text: of those that overlap the one with most bytes, then the first.

    `control` are found only where parsing them is allowed, `always` everywhere, `marks` as the
    caller says. Time is linear in the text: at a place where a token may begin, only as many texts
    are tried as there are lengths of tokens with those first two characters.
    """

    def __init__(
        self, control: Mapping[str, int], marks: Mapping[str, int], always: Mapping[str, int]
    ) -> None:
        self._guarded = {text: i for text, i in {**marks, **control}.items() if text}
        self._always = {text: i for text, i in always.items() if text}
        self._always_and_marks = {text: i for text, i in marks.items() if text} | self._always
        texts = [*self._guarded, *self._always]
        by_head: defaultdict[str, set[int]] = defaultdict(set)
        for text in texts:
            by_head[text[:2]].add(len(text))
        for head in by_head:
            if head[0] in by_head:
                by_head[head].add(1)
        self._lengths = {head: sorted(found, reverse=True) for head, found in by_head.items()}
        self._longest = {text[:2]: text for text in sorted(texts, key=_n_bytes)}
        self._above: dict[int, re.Pattern[str]] = {}
        self._heads = self._heads_above(0)
        self._n_bytes = {
            token: _n_bytes(text)
            for known in (self._guarded, self._always)
            for text, token in known.items()
        }
        together = "\0".join(texts)
        self._pairs = set(map("".join, pairwise(together)))

    def find(
        self, text: str, allowed: Sequence[tuple[int, int]], marks_anywhere: bool
    ) -> Iterator[TokenSpan]:
        """The special tokens in `text`, without overlaps.

        A control token counts only where it lies wholly in one of the `allowed` (start, end)
        ranges, which are sorted and do not touch; so does a mark, unless `marks_anywhere`.
        """
        anywhere = self._always_and_marks if marks_anywhere else self._always
        starts = [start for start, _ in allowed]

        def first(
            heads: re.Pattern[str], at: int, last: int, end: int, beyond: int
        ) -> TokenSpan | None:
            """The leftmost token that begins from `at` to `last` with one of `heads` and ends
            behind `beyond` and by `end`; of those that begin there the longest."""
            while (head := heads.search(text, at, min(last + 2, end))) is not None:
                at = head.start()
                if at > last:
                    return None
                zone = bisect_right(starts, at) - 1
                limit = min(allowed[zone][1], end) if zone >= 0 else 0
                for length in self._lengths[head[0]]:
                    if at + length <= beyond:
                        break
                    candidate = text[at : at + length]
                    token = anywhere.get(candidate) if at + length <= end else None
                    if token is None and at + length <= limit:
                        token = self._guarded.get(candidate)
                    if token is not None:
                        return TokenSpan(at, at + length, token)
                at += 1
            return None

        def larger(than: TokenSpan, end: int) -> TokenSpan | None:
            """The token with most bytes that begins inside of one with fewer, and ends behind."""
            if text[than.end - 1 : than.end + 1] not in self._pairs:
                return None
            n_bytes, best, at = self._n_bytes[than.token], None, than.start + 1
            heads = self._heads_above(n_bytes)
            while (found := first(heads, at, than.end - 1, end, than.end)) is not None:
                if self._n_bytes[found.token] > n_bytes:
                    n_bytes, best = self._n_bytes[found.token], found
                at = found.start + 1
            return best

        todo: list[TokenSpan | tuple[int, int]] = [(0, len(text))]
        while todo:
            part = todo.pop()
            if isinstance(part, TokenSpan):
                yield part
                continue
            start, end = part
            while (found := first(self._heads, start, end - 1, end, 0)) is not None:
                rival = larger(found, end)
                if rival is not None:
                    break
                yield found
                start = found.end
            else:
                continue
            begin = found.start
            while rival is not None:
                found, rival = rival, larger(rival, end)
            todo += [(found.end, end), found, (begin, found.start)]

    def _heads_above(self, n_bytes: int) -> re.Pattern[str]:
        """Matches the first two characters of every token of more bytes; made when first needed."""
        found = self._above.get(n_bytes)
        if found is None:
            heads = [head for head, text in self._longest.items() if _n_bytes(text) > n_bytes]
            heads.sort(key=len, reverse=True)
            found = re.compile("|".join(map(re.escape, heads)) if heads else _NEVER)
            self._above[n_bytes] = found
        return found


def _n_bytes(text: str) -> int:
    return len(text.encode())

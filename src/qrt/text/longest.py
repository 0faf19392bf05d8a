"""The pieces of a vocabulary that a text has at one place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import AnyStr, Generic


class Pieces(Generic[AnyStr]):
    """Pieces by text; at a place only as many are tried as there are lengths of pieces with those
    first two characters (or bytes)."""

    def __init__(self, ids: Mapping[AnyStr, int]) -> None:
        self._ids: Mapping[AnyStr, int] = ids
        by_head: defaultdict[AnyStr, set[int]] = defaultdict(set)
        for piece in ids:
            by_head[piece[:2]].add(len(piece))
        for head in by_head:
            if head[:1] in by_head:
                by_head[head].add(1)
        self._lengths: dict[AnyStr, list[int]] = {
            head: sorted(found, reverse=True) for head, found in by_head.items()
        }

    def at(self, text: AnyStr, start: int) -> Iterator[tuple[int, int]]:
        """(length, id) of each piece that `text` has at `start`, the longest first."""
        head = text[start : start + 2]
        for length in self._lengths.get(head) or self._lengths.get(head[:1]) or ():
            piece = text[start : start + length]
            found = self._ids.get(piece)
            if found is not None and len(piece) == length:
                yield length, found

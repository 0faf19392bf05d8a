"""A frozen list of byte strings: one blob, found by number or by content."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray


class StringTable:
    """`n` byte strings in one blob with offsets: a tenth of the memory of a dict of them.

    Finding is a binary search over sorted 64-bit hashes (Python's keyed `hash`), confirmed by a
    comparison; the first of equal strings wins.
    """

    def __init__(self, strings: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, strings), np.int64, len(strings))
        self._ends: NDArray[np.int64] = np.cumsum(lengths)
        hashes = np.fromiter(map(hash, strings), np.int64, len(strings))
        order = np.argsort(hashes)
        self._sorted_hashes = array("q", hashes[order].tobytes())
        self._numbers = array("i", order.astype(np.int32).tobytes())
        self._blob = b"".join(strings)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> bytes:
        if not 0 <= i < len(self._ends):
            raise IndexError(i)
        start = int(self._ends[i - 1]) if i else 0
        return self._blob[start : int(self._ends[i])]

    @property
    def max_len(self) -> int:
        """Length in bytes of the longest string."""
        return int(np.diff(self._ends, prepend=0).max(initial=0))

    def to_list(self) -> list[bytes]:
        """All strings, in order."""
        ends = self._ends.tolist()
        starts = chain((0,), ends)
        return [self._blob[a:b] for a, b in zip(starts, ends, strict=False)]

    def find(self, key: bytes) -> int:
        """The number of the first string equal to `key`, or -1."""
        hashes, numbers = self._sorted_hashes, self._numbers
        wanted = hash(key)
        found = -1
        for at in range(bisect_left(hashes, wanted), len(hashes)):
            if hashes[at] != wanted:
                break
            number = numbers[at]
            if (found < 0 or number < found) and self[number] == key:
                found = number
        return found

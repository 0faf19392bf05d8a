"""A list of strings that stays as it stands in the header until it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from qrt.errors import GGUFError


class LazyStrings(Sequence[str]):
    """The strings of a metadata array, decoded on demand.

    One at a time is for a look; for all of them `raw` and `to_list` are far faster. A string that
    is not valid UTF-8 raises GGUFError where it is decoded; `raw` gives the bytes of any.
    """

    def __init__(self, header: bytearray, edges: NDArray[np.int64], where: str) -> None:
        """String i lies at bytes edges[i] + 8 to edges[i + 1]; `where` names the list in errors."""
        self._header = header
        self._edges = edges  # (len + 1,)
        self._where = where

    def __len__(self) -> int:
        return len(self._edges) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        start, end = self._edges[i : i + 2].tolist()
        return self._decode(i, self._header[start + 8 : end])

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"<LazyStrings of {len(self)}>"

    def raw(self) -> list[bytes]:
        """All strings as they stand in the file."""
        first = int(self._edges[0])
        blob = bytes(self._header[first : int(self._edges[-1])])
        return [blob[a + 8 : b] for a, b in pairwise((self._edges - first).tolist())]

    def to_list(self) -> list[str]:
        """All strings, decoded."""
        raw = self.raw()
        try:
            return list(map(bytes.decode, raw))
        except UnicodeDecodeError:
            return [self._decode(i, s) for i, s in enumerate(raw)]

    def _decode(self, i: int, text: bytes | bytearray) -> str:
        try:
            return str(text, "utf-8")
        except UnicodeDecodeError:
            at = int(self._edges[i]) + 8
            raise GGUFError(f"{self._where}[{i}] at byte {at}: is not valid UTF-8") from None

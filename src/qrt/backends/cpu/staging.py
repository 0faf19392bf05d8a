"""Matrices that are read from their file each time they are used, one place in memory for all."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.fetch import SHARE, Call, checksum_calls, fetch_call, past_cache, reader
from qrt.backends.cpu.memory import address, reserve
from qrt.formats.stored import StoredFile


class Staging:
    """Reads past the system's cache where it can: of matrices that every token reads in turn, all
    larger than memory together, the cache would keep none, and cost the time to fill it.

    What was read is checked against the sums, one for each `unit` bytes, that it was written with.
    """

    def __init__(
        self,
        file: StoredFile,
        places: Mapping[str, tuple[int, int]],
        sums: Mapping[str, NDArray[np.int64]],
        unit: int,
    ) -> None:
        """`places`: first byte and end of whole pages."""
        self._places, self._unit = places, unit
        self._wanted = np.concatenate([sums[name] for name in places])
        self._found = self._wanted.copy()
        sizes = [sums[name].size for name in places]
        self._parts = dict(zip(places, np.split(self._found, np.cumsum(sizes)), strict=False))
        self._room = reserve(max(end - at for at, end in places.values()), huge=True)
        self._failed = np.zeros(1, np.int64)
        self._number = past_cache(file)
        weakref.finalize(self, os.close, self._number)

    @property
    def names(self) -> Collection[str]:
        """The matrices."""
        return self._places.keys()

    def data(self, name: str) -> NDArray[np.uint8]:
        """Where a matrix lies after the calls of `fetch`, until those of another."""
        at, end = self._places[name]
        return self._room[: end - at]

    def fetch(self, name: str) -> list[Call]:
        """The calls that read a matrix; all threads must be done with the one before."""
        at, _ = self._places[name]
        room = self.data(name)
        read = fetch_call(
            read=reader(),
            file=self._number,
            offset=at,
            target=address(room),
            n_bytes=room.size,
            unit=SHARE,
            sums=0,
            failed=address(self._failed),
        )
        check = checksum_calls([(address(room), room.size)], self._unit, self._parts[name])
        return [read, *check]

    @property
    def is_damaged(self) -> bool:
        """Whether something was not as it was written when it was last read."""
        return bool(self._failed[0]) or not np.array_equal(self._found, self._wanted)

"""Writes a file that may be larger than memory."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

_sync = getattr(os, "fdatasync", os.fsync)


class SteadyWriter:
    """What was written goes to the disk while the next part is made.

    So at most two parts are in memory that the system cannot take back: a memory group full of
    pages that wait for the disk stops its processes, or ends them.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="qrt-disk")
        self._writing: Future[None] | None = None

    def write(self, data: NDArray[np.uint8]) -> None:
        """Writes at the file's position. Raises OSError, of this part or of the one before."""
        self._file.write(data.data)
        self._file.flush()
        if self._writing is not None:
            self._writing.result()
        self._writing = self._worker.submit(_sync, self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.shutdown()
        if error is None and self._writing is not None:
            self._writing.result()

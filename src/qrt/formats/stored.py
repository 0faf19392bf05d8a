"""An open file, read and never mapped: a change under a running process is an error, no fault."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qrt.errors import GGUFError


class StoredFile:
    """A file open for reading. A mapped page of a file that was cut short ends the process; a
    read of it comes short, and raises GGUFError.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path`; raises OSError."""
        self.path = path
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._number)
        self.n_bytes, self.mtime_ns = self._state()
        self._lock = threading.Lock()

    def _state(self) -> tuple[int, int]:
        info = os.fstat(self._number)
        return info.st_size, info.st_mtime_ns

    def fileno(self) -> int:
        """The number that the system knows the open file by."""
        return self._number

    def read(self, start: int, n_bytes: int) -> NDArray[np.uint8]:
        """A private copy of bytes that the file had when it was opened."""
        data = np.empty(n_bytes, np.uint8)
        self.read_into(data.data, start)
        self.check_unchanged()
        data.flags.writeable = False
        return data

    def read_into(self, target: memoryview, start: int) -> None:
        """Fills `target` with the bytes from `start` on. Raises GGUFError where they end early."""
        done = 0
        while done < len(target):
            try:
                n = self._read_some(target[done:], start + done)
            except OSError as error:
                reason = error.strerror or error
                raise GGUFError(f"{self.path}: cannot be read: {reason}") from error
            if not n:
                raise self.changed()
            done += n

    def _read_some(self, target: memoryview, start: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._number, [target], start)
        with self._lock:
            os.lseek(self._number, start, os.SEEK_SET)
            some = os.read(self._number, len(target))
        target[: len(some)] = some
        return len(some)

    def check_unchanged(self) -> None:
        """Raises GGUFError where the file was written to since it was opened."""
        if self._state() != (self.n_bytes, self.mtime_ns):
            raise self.changed()

    def changed(self) -> GGUFError:
        """What is raised for a file that is no longer what it was."""
        now = self._state()[0]
        what = f"it had {self.n_bytes} bytes, now {now}" if now != self.n_bytes else "in place"
        return GGUFError(f"{self.path}: changed while it was read ({what}); load it again")

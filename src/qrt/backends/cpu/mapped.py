"""A file of packed weights in memory without a copy, and the watch over it while it is used."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.fetch import checksum_calls, run_calls
from qrt.backends.cpu.guard import Guarded, guard_kernels, guard_of
from qrt.backends.cpu.memory import address
from qrt.backends.cpu.paging import Paged
from qrt.backends.cpu.staging import Staging
from qrt.errors import GGUFError, ModelError
from qrt.formats.stored import StoredFile
from qrt.kernels.layout import STEP
from qrt.kernels.objects import Library
from qrt.kernels.team import Team, aligned

PATIENCE_S = 1.0
"""How long the first step waits for the check; what takes longer is larger than a few GB."""

_NICENESS = 10


class Mapped:
    """A mapped file. Nothing that happens to it ends the process or stays unseen.

    `check`, after every step, raises ModelError and deletes the file where by then
    - a page was missing when it was read: the file was cut short;
    - the file has another size or time of change than when it was opened;
    - its checksums, made on a thread of their own after `check_later`, were found wrong. The first
      step waits for them, up to PATIENCE_S: damage from before the start is found at the first
      step, or in a file that takes longer at the first step that ends after them.
    - what `staging` read was not what was written.
    Not seen is who writes to it later and sets the time of change back, or writes through a shared
    mapping: the folder is private.
    """

    def __init__(self, file: StoredFile, mapping: mmap.mmap, guarded: Guarded) -> None:
        self.data = np.frombuffer(mapping, np.uint8)
        self.staging: Staging | None = None
        """What is read from the file beside what is mapped."""
        self.paged: Paged | None = None
        """What is mapped because not all fits."""
        self._mapping = mapping
        self._file = file
        self._guarded = guarded
        self._is_right = False
        self._checked = threading.Event()
        self._step = aligned(STEP.size).view(np.int64)
        self._checker: threading.Thread | None = None
        self._patience = 0.0

    @classmethod
    def open(cls, file: StoredFile, library: Library) -> Mapped | None:
        """Maps all of `file`; None where that cannot be guarded.

        Raises OSError, and ValueError where the file is shorter than it was when it was opened.
        """
        if not guard_kernels():
            return None
        mapping = mmap.mmap(file.fileno(), file.n_bytes, access=mmap.ACCESS_READ)
        data = np.frombuffer(mapping, np.uint8)
        start = address(data)
        end = start + len(data) + -len(data) % mmap.PAGESIZE
        guarded = guard_of(library).cover(start, end)
        return None if guarded is None else cls(file, mapping, guarded)

    def check_later(
        self,
        places: Sequence[tuple[int, int]],
        unit: int,
        sums: NDArray[np.int64],
        library: Library,
    ) -> None:
        """Reads places, first byte and end, and compares their sums, one for each `unit` bytes.

        A thread does, while the kernels are being prepared and the first step runs.
        """
        for at, end in places:
            begin = at - at % mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_WILLNEED, begin, end - begin)
        found = np.zeros_like(sums)
        start = address(self.data)
        calls = checksum_calls([(start + at, end - at) for at, end in places], unit, found)

        def compare() -> None:
            with suppress(OSError):  # of this thread alone
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
            team = Team(1, library)
            try:
                run_calls(
                    [call._replace(barrier=True) for call in calls], library, team, self._step
                )
                self._is_right = np.array_equal(found, sums)
            finally:
                team.close()
                self._checked.set()

        self._patience = PATIENCE_S
        self._checker = threading.Thread(target=compare, name="qrt-check", daemon=True)
        self._checker.start()

    def check(self) -> None:
        """Raises ModelError where what was read may not be what was kept."""
        if self._patience:
            self._checked.wait(self._patience)
            self._patience = 0.0
        is_wrong = self._checked.is_set() and not self._is_right
        is_wrong |= self.staging is not None and self.staging.is_damaged
        if is_wrong or self._guarded.is_damaged or self._has_changed():
            self._discard()
            raise ModelError(
                f"{self._file.path}: the packed weights changed while they were in use, "
                "or are damaged; load the model again"
            )

    def _has_changed(self) -> bool:
        try:
            self._file.check_unchanged()
        except GGUFError:
            return True
        return False

    def _discard(self) -> None:
        """Deletes the file, unless another has its name by now."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file.fileno()), os.lstat(self._file.path)):
                self._file.path.unlink()

    def close(self) -> None:
        """Ends the check and the watch; the memory must not be read any more."""
        self._step[0] = 1
        if self._checker is not None:
            self._checker.join()
        self._guarded.end()

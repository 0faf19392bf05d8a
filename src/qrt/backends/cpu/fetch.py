"""Bytes of a file into private memory, on all threads and without Python between two reads."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.memory import address, reserve
from qrt.formats.stored import StoredFile
from qrt.kernels.layout import FETCH, STEP, TAPE, fill
from qrt.kernels.objects import Library
from qrt.kernels.team import Team, aligned

SHARE = 1 << 18
"""Bytes that a thread reads before it uses them: they are in its cache still."""


@cache
def reader() -> int:
    """The address of the system's pread; 0 where it has none and Python has to read."""
    if not hasattr(os, "pread") or ctypes.sizeof(ctypes.c_size_t) != 8:
        return 0
    return ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value or 0


def past_cache(file: StoredFile) -> int:
    """Opens the file once more, so that reads go past the system's cache where they can.

    Places, targets and sizes must be those of whole pages then.
    """
    number = -1
    try:
        own = f"/proc/self/fd/{file.fileno()}"
        number = os.open(own, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
        os.preadv(number, [reserve(mmap.PAGESIZE).data], 0)
    except (OSError, AttributeError):  # AttributeError: a system without preadv
        if number >= 0:
            os.close(number)
        return os.dup(file.fileno())
    return number


class Call(NamedTuple):
    """A kernel and the fields of its record; `barrier`: whether all threads wait behind it."""

    kernel: str
    fields: Iterable[int]
    barrier: bool = False


class Fetcher:
    """Runs kernels on what stands in `file`, with a thread team."""

    def __init__(
        self, file: StoredFile, library: Library, team: Team, number: int | None = None
    ) -> None:
        """`number` is what `past_cache` gave, if that is to be read."""
        self.file = file
        self._number = file.fileno() if number is None else number
        self._library = library
        self._team = team
        self._failed = np.zeros(1, np.int64)

    def call(self, start: int, n_bytes: int, target: int, unit: int, sums: int = 0) -> Call:
        """Reads `n_bytes` from byte `start` of the file; the others as in FETCH."""
        return fetch_call(
            read=reader(),
            file=self._number,
            offset=start,
            target=target,
            n_bytes=n_bytes,
            unit=unit,
            sums=sums,
            failed=address(self._failed),
        )

    def run(self, calls: Sequence[Call]) -> None:
        """Runs kernels one after another. Raises GGUFError where the file changed meanwhile."""
        run_calls(calls, self._library, self._team)
        if self._failed[0]:
            raise self.file.changed()
        self.file.check_unchanged()

    def fetch(
        self,
        parts: Iterable[tuple[int, NDArray[np.uint8]]],
        unit: int = SHARE,
        sums: NDArray[np.int64] | None = None,
    ) -> None:
        """Fills each target from its byte of the file on, and `sums` for each `unit` of it.

        Raises GGUFError.
        """
        calls = []
        at = 0 if sums is None else address(sums)
        for start, target in parts:
            if not reader():
                self.file.read_into(target.data, start)
            calls.append(self.call(start, target.size, address(target), unit, at))
            at += 8 * -(-target.size // unit) if at else 0
        self.run(calls)


def checksum_calls(
    parts: Iterable[tuple[int, int]], unit: int, sums: NDArray[np.int64]
) -> list[Call]:
    """Calls that make the sums of memory, given by address and bytes, as `Fetcher.fetch` does."""
    calls, at = [], address(sums)
    for target, n_bytes in parts:
        nowhere = dict.fromkeys(("read", "file", "offset", "failed"), 0)
        calls.append(fetch_call(target=target, n_bytes=n_bytes, unit=unit, sums=at, **nowhere))
        at += 8 * -(-n_bytes // unit)
    return calls


def fetch_call(**fields: int) -> Call:
    """The kernel that reads and checks."""
    return Call("fetch", fill(FETCH, fields))


def run_calls(
    calls: Sequence[Call], library: Library, team: Team, step: NDArray[np.int64] | None = None
) -> None:
    """Runs kernels one after another on all threads, and waits behind the last.

    The first word of `step`, a STEP, set from elsewhere, stops them at a barrier.
    """
    if not calls:  # threads meet at the barrier behind the last
        return
    args = [np.array(call.fields, np.int64) for call in calls]
    tape = [
        list(
            fill(
                TAPE,
                {
                    "kernel": library.address(call.kernel),
                    "args": address(own),
                    "barrier": call.barrier or call is calls[-1],
                },
            )
        )
        for call, own in zip(calls, args, strict=True)
    ]
    step = aligned(STEP.size).view(np.int64) if step is None else step
    team.run(np.array(tape, np.int64), address(step))

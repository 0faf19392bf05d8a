"""Mapped memory whose file others may cut short: a flag is set in place of the process's end."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import weakref

import numpy as np

from qrt.backends.cpu.memory import address, reserve
from qrt.kernels.isa import machine
from qrt.kernels.layout import GUARD, GUARDED, fill
from qrt.kernels.objects import Library
from qrt.kernels.team import Team, lone_record

MAX_RANGES = 256
"""Mapped files at a time; further ones are read."""

_ACTION_BYTES = 152
"""struct sigaction of 64-bit Linux: the handler, 128 bytes of signals to hold back, flags."""
_FLAGS_AT = 136
_SIGINFO, _ON_STACK, _RESTART = 4, 0x08000000, 0x10000000


def guard_kernels() -> tuple[str, ...]:
    """The kernels that a guard needs; none where mapped files cannot be guarded."""
    is_known = sys.platform == "linux" and machine() in ("x86_64", "aarch64")
    return ("guard",) if is_known and sys.maxsize > 2**32 else ()


class Guarded:
    """A range of mapped memory that reads as zeros once a page of it has gone."""

    def __init__(self, guard: Guard, number: int) -> None:
        self._words = guard.ranges[number]
        self.end = weakref.finalize(self, guard.free, number)
        self.end.atexit = False
        """Ends it; to be called before the memory is unmapped."""

    @property
    def is_damaged(self) -> bool:
        """Whether some of it was missing when it was read."""
        return bool(self._words[GUARDED.damaged // 8])


class Guard:
    """The process's handler of SIGBUS and the ranges that it knows. Installed for good."""

    def __init__(self, library: Library) -> None:
        self._library = library  # the handler's code
        self._lock = threading.Lock()
        self._libc = ctypes.CDLL(None)
        self._record = reserve(GUARD.size + MAX_RANGES * GUARDED.size)
        self._previous, self._action = reserve(_ACTION_BYTES), reserve(_ACTION_BYTES)
        self.ranges = self._record[GUARD.size :].view(np.int64).reshape(MAX_RANGES, -1)
        names = {"mmap": "mmap", "sigaction": "sigaction", "raise_signal": "raise"}
        fields = {
            field: ctypes.cast(self._libc[name], ctypes.c_void_p).value or 0
            for field, name in names.items()
        }
        fields |= {"handler": 0, "previous": address(self._previous), "n_ranges": MAX_RANGES}
        words = self._record[: GUARD.size].view(np.int64)
        words[:] = list(fill(GUARD, fields))
        step = reserve(8)
        team = Team(1, library)
        team.run(lone_record(library.address("guard"), words), address(step))
        team.close()
        self._handler = int(words[GUARD.handler // 8])
        self._action.view(np.int64)[0] = self._handler
        self._action.view(np.int32)[_FLAGS_AT // 4] = _SIGINFO | _ON_STACK | _RESTART

    def cover(self, start: int, end: int) -> Guarded | None:
        """Guards whole pages of memory; None where all places are taken."""
        with self._lock:
            free = np.flatnonzero(self.ranges[:, GUARDED.end // 8] == 0)
            if not len(free):
                return None
            number = int(free[0])
            self._install()
            self.ranges[number] = start, 0, 0
            self.ranges[number, GUARDED.end // 8] = end  # last: the handler may look meanwhile
        return Guarded(self, number)

    def free(self, number: int) -> None:
        """Forgets a range."""
        self.ranges[number, GUARDED.end // 8] = 0

    def _install(self) -> None:
        """Puts the handler before whatever stands there, unless it is that."""
        now = reserve(_ACTION_BYTES)
        self._act(0, address(now))
        if now.view(np.int64)[0] != self._handler:
            self._previous[:] = now
            self._act(address(self._action), 0)

    def _act(self, new: int, old: int) -> None:
        places = ctypes.c_void_p(new or None), ctypes.c_void_p(old or None)
        if self._libc.sigaction(int(signal.SIGBUS), *places):
            raise OSError("sigaction")


_INSTALLED: list[Guard] = []
_LOCK = threading.Lock()


def guard_of(library: Library) -> Guard:
    """The guard of this process; the first caller's library has its handler."""
    with _LOCK:
        if not _INSTALLED:
            _INSTALLED.append(Guard(library))
        return _INSTALLED[0]

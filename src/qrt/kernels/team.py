"""A team of threads that walk tapes together: native while there is work, parked when idle."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from qrt.kernels.layout import TAPE, TEAM, fill
from qrt.kernels.objects import Library

TEAM_KERNELS = ("run", "work")

_Native = ctypes.CFUNCTYPE(
    ctypes.c_int32, *[ctypes.c_int64] * 2, *[ctypes.c_int64] * 4
)  # numba's convention: two scratch addresses, then the arguments


def aligned(n_bytes: int, alignment: int = 64) -> NDArray[np.uint8]:
    """Zeroed bytes whose address is a multiple of `alignment`."""
    raw = np.zeros(n_bytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + n_bytes]


def lone_record(kernel: int, args: NDArray[np.int64]) -> NDArray[np.int64]:
    """The tape of one kernel, by address, with its record of arguments."""
    fields = {"kernel": kernel, "args": args.ctypes.data, "barrier": 1}
    return np.array([list(fill(TAPE, fields))], np.int64)


class Team:
    """`n_threads` threads, of which the caller of `run` is one.

    One job at a time: callers wait for each other. `run` with `interruptible` leaves the calling
    thread free to receive Ctrl-C, at the price of waking one more thread.
    """

    def __init__(self, n_threads: int, library: Library) -> None:
        self.n_threads = n_threads
        self._library = library
        self._run = _Native(library.address("run"))
        self._work = _Native(library.address("work"))
        self._yield = _yield_function()
        self._closed = False
        self._begin()
        _TEAMS.add(self)

    def _begin(self) -> None:
        """As new: no threads, no job, nobody waiting. They start with the first job."""
        self._memory = aligned(TEAM.size + 64 * (self.n_threads + 2))
        self._words = self._memory[: TEAM.size].view(np.int64)
        self._address: int = self._memory.ctypes.data
        self._set("yield_now", ctypes.cast(self._yield, ctypes.c_void_p).value or 0)
        self._busy = threading.Lock()
        self._wake = threading.Condition()
        self._n_parked = 0
        self._called = 0  # jobs asked for; the word `job` counts those posted
        self._workers: list[threading.Thread] = []

    def _start_workers(self) -> None:
        """Starts those that are missing. After an interrupt a thread is a worker, or never will be:
        two of one number would both arrive at barriers.
        """
        for number in range(len(self._workers) + 1, self.n_threads):
            begun = threading.Lock()
            worker = threading.Thread(
                target=self._serve, args=(number, begun), name=f"qrt-{number}", daemon=True
            )
            try:
                self._workers.append(worker)
                worker.start()
            except BaseException:
                if begun.acquire(blocking=False):
                    self._workers.remove(worker)
                raise

    def _set(self, field: str, value: int) -> None:
        self._words[getattr(TEAM, field) // 8] = value

    def _scratch(self, thread: int) -> int:
        return int(self._address + TEAM.size + 64 * thread)

    def _serve(self, thread: int, begun: threading.Lock) -> None:
        """A worker's life: native while jobs come, parked when none has come for a while."""
        if not begun.acquire(blocking=False):
            return
        scratch = self._scratch(thread)
        seen = self._memory[scratch - self._address :][:8].view(np.int64)
        while True:
            self._work(scratch + 16, scratch + 24, self._address, scratch, thread, self.n_threads)
            with self._wake:
                while self._called == seen[0] and not self._closed:
                    self._n_parked += 1
                    self._wake.wait()
                    self._n_parked -= 1
                if self._closed:
                    return

    def run(self, tape: NDArray[np.int64], step: int, *, interruptible: bool = False) -> None:
        """Walks the records of `tape`, (n_records, 3) as in TAPE, with the STEP at address `step`.

        With `interruptible`, a KeyboardInterrupt sets the step's cancel word, waits for the
        threads and is raised again.
        """
        with self._busy:
            if self._closed:
                raise RuntimeError("the thread team is closed")
            if len(self._workers) < self.n_threads - 1:
                self._start_workers()
            self._set("tape", tape.ctypes.data)
            self._set("n_records", len(tape))
            self._set("step", step)
            with self._wake:
                self._called += 1
                if self._n_parked:
                    self._wake.notify_all()
            try:
                if interruptible and threading.current_thread() is threading.main_thread():
                    self._lead_elsewhere(step)
                else:
                    self._lead()
            finally:  # an interrupt may come before the job was posted
                self._called = int(self._words[TEAM.job // 8])

    def _lead(self) -> None:
        """Posts the job and takes part in it: one native call, which no interrupt can divide."""
        scratch = self._scratch(0)
        self._run(scratch, scratch + 8, self._address, scratch, 0, self.n_threads)

    def _lead_elsewhere(self, step: int) -> None:
        """Lets another thread lead. After an interrupt it has not begun, and never will, or ends
        before this returns: what it walks stays alive with the caller.
        """
        begun = threading.Lock()
        done = threading.Event()  # an interrupted Thread.join forgets that the thread still runs

        def lead() -> None:
            if begun.acquire(blocking=False):
                self._lead()
                done.set()

        try:
            threading.Thread(target=lead, name="qrt-0", daemon=True).start()
            done.wait()
        except BaseException:
            if not begun.acquire(blocking=False):
                ctypes.c_int64.from_address(step).value = 1  # STEP.cancel is the first word
                _outwait(done)
            raise

    def close(self) -> None:
        """Ends the workers."""
        with self._busy, self._wake:
            self._closed = True
            self._wake.notify_all()
        for worker in self._workers:
            worker.join()


_TEAMS: weakref.WeakSet[Team] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked process no thread but the forking one lives, and locks may be held for ever."""
    for team in list(_TEAMS):
        team._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _outwait(done: threading.Event) -> None:
    """Waits through any number of further interrupts."""
    while not done.is_set():
        with suppress(KeyboardInterrupt):
            done.wait()


def _yield_function() -> ctypes._CFuncPtr:  # type: ignore[name-defined]
    if sys.platform == "win32":
        return ctypes.windll.kernel32.SwitchToThread  # type: ignore[attr-defined]
    return ctypes.CDLL(None).sched_yield

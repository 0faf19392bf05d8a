"""Turns on this machine's cores: models whose teams would crowd them run step after step.

Two teams that wait at barriers for threads without a core lose more than half of their time.
"""

from __future__ import annotations

import os
import threading

from qrt.config import Env, default_threads

_RECHECK_S = 0.1
"""A waiting step looks for itself: an interrupt may have kept another from waking it."""


class Cores:
    """Room for so many threads at a time; a step that finds too little waits, first come first.

    `take` belongs within the `try` whose `finally` gives: an interrupt anywhere leaves nothing
    behind.
    """

    def __init__(self, n_cores: int) -> None:
        self._n_cores = n_cores
        self._mutex = threading.Lock()
        self._held: dict[object, int] = {}
        self._waiting: dict[object, tuple[int, threading.Lock]] = {}

    def take(self, owner: object, n_threads: int) -> None:
        """Waits for the cores of a step of `owner`, which has none; more than all are all."""
        wanted = min(n_threads, self._n_cores)
        with self._mutex:
            if not self._waiting and self._fits(wanted):
                self._held[owner] = wanted
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting[owner] = wanted, gate
        while True:
            gate.acquire(timeout=_RECHECK_S)
            with self._mutex:
                if next(iter(self._waiting)) is owner and self._fits(wanted):
                    del self._waiting[owner]
                    self._held[owner] = wanted
                    self._wake()
                    return

    def give(self, owner: object) -> None:
        """Lets go of the cores of `owner`, or of its place among those that wait."""
        with self._mutex:
            self._waiting.pop(owner, None)
            self._held.pop(owner, None)
            self._wake()

    def _fits(self, wanted: int) -> bool:
        return sum(self._held.values()) + wanted <= self._n_cores

    def _wake(self) -> None:
        """Has the first of those that wait look, if there may be room for it."""
        if self._waiting:
            wanted, gate = next(iter(self._waiting.values()))
            if self._fits(wanted) and gate.locked():
                gate.release()

    def reset(self) -> None:
        """As new: the steps of a parent process are not those of its child."""
        self._mutex = threading.Lock()
        self._held, self._waiting = {}, {}


CORES = Cores(default_threads(Env()))
"""Those that this process may use, of which all models of it have their turns."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CORES.reset)

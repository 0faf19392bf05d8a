"""Watches a leader: tells what all threads do when a step hangs, and ends a caller's function."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from time import perf_counter

from qrt.runtime.health import Pulse

LOOKS = 4
"""Looks in the time after which a step counts as hanging."""


class Stuck(BaseException):
    """Raised within a function of a caller's that has run for too long."""


class _Seen:
    """What the looks saw of one kind of thing that begins and ends."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._begun: float | None = None
        self._n_looks = 0

    def hangs(self, begun: float | None) -> bool:
        """Whether what began then hangs, by this look and those before: a process that was stopped
        for so long did not see it hang."""
        self._n_looks = self._n_looks + 1 if begun == self._begun else 1
        self._begun = begun
        is_long = begun is not None and perf_counter() - begun >= self._stuck_s
        return is_long and self._n_looks >= LOOKS


class Watch:
    """A thread that sleeps while `is_quiet` says that nothing is to be computed."""

    def __init__(self, pulse: Pulse, stuck_s: float, is_quiet: Callable[[], bool]) -> None:
        self._pulse = pulse
        self._stuck_s = stuck_s
        self._is_quiet = is_quiet
        self._bell, self._closed = threading.Event(), threading.Event()
        self._step, self._hook = _Seen(stuck_s), _Seen(stuck_s)
        self._told: float | None = None  # the begin of the step that was told of
        self._thread = threading.Thread(target=self._serve, name="qrt-watch", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """There is something to watch."""
        if not self._bell.is_set():
            self._bell.set()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._bell.set()

    def look(self) -> None:
        """Tells of a step that hangs, once, and interrupts what hangs in it."""
        since = self._pulse.step_since
        if self._step.hangs(since) and since is not None and since != self._told:
            self._told = since
            logging.getLogger("qrt").error(
                "a step has been running for %.1f s; all threads:\n%s",
                perf_counter() - since,
                stacks(),
            )
        self._interrupt()

    def _serve(self) -> None:
        while not self._closed.wait(self._stuck_s / LOOKS):
            self.look()
            if self._is_quiet():
                self._bell.wait()
                self._bell.clear()

    def _interrupt(self) -> None:
        """Raises `Stuck` in a hook that has run for too long, if it is still there.

        It comes through when the hook next runs Python: one that waits in a system call ends that
        first.
        """
        with self._pulse.lock:
            hook = self._pulse.hook
            if self._hook.hangs(hook and hook[1]) and hook is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(hook[0]), ctypes.py_object(Stuck)
                )


def stacks() -> str:
    """What every thread of Python is at, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}"
        for number, frame in sys._current_frames().items()
    )

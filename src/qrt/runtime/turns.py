"""Who may run steps: one thread at a time, the leader; others wait for it, or to be the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from qrt.errors import BusyError


def never() -> bool:
    """Of a caller that waits for the lead itself; of a generation that nobody stops."""
    return False


class Caller:
    """A thread that needs something of the engine, and `ready()`: whether it has it by now."""

    __slots__ = ("_gate", "leads", "ready", "thread")

    def __init__(self, ready: Callable[[], bool] = never) -> None:
        self.ready = ready
        self.thread = 0
        self.leads = False
        self._gate = threading.Lock()

    def close_gate(self) -> None:
        """Before it waits, under the mutex."""
        self._gate.acquire(blocking=False)

    def wait(self) -> None:
        """Sleeps until it is woken."""
        self._gate.acquire()

    def wake(self) -> None:
        """Ends its sleep."""
        self._gate.release()


class Turns:
    """Leader election: who finds no leader leads, for as long as it needs; the rest sleep.

    A leader wakes those who have what they wanted after each step, and hands the lead over when
    it has what it wanted itself. Callers that only want the lead for a moment (`Alone`) get it
    between two steps; between two of those, a step is run if one is wanted.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets leader and waiters: those of a child process do not exist in it."""
        self._mutex = threading.Lock()
        self._leader: Caller | None = None
        self._waiting: dict[Caller, None] = {}  # in order of asking

    def lead(self, caller: Caller) -> bool:
        """Waits until `caller` leads, or is ready: then False.

        Raises BusyError in a thread that leads already. One that was kept from giving the lead up
        by an interrupt gets it anew.
        """
        if self.is_leading():
            raise BusyError("the engine is in a step of this thread; call it when that has ended")
        caller.thread = threading.get_ident()
        with self._mutex:
            if caller.ready():
                return False
            if self._leader is None or self._leader.thread == caller.thread:
                self._leader = caller
            else:
                caller.close_gate()
                self._waiting[caller] = None
        if self._leader is not caller:
            try:
                caller.wait()
            finally:
                with self._mutex:
                    self._waiting.pop(caller, None)
        caller.leads = self._leader is caller
        return caller.leads

    def is_leading(self) -> bool:
        """Whether the calling thread leads."""
        leader = self._leader
        return leader is not None and leader.leads and leader.thread == threading.get_ident()

    def between_steps(self, caller: Caller) -> bool:
        """Wakes all that are ready by now; hands the lead to one who wants it for a moment, if any.

        Then it waits as `lead` does; whether `caller` leads.
        """
        with self._mutex:
            if not self._waiting:
                return True
            self._wake()
            brief = next((other for other in self._waiting if other.ready is never), None)
            if brief is None:
                return True
            caller.leads = False
            self._appoint(brief)
        return self.lead(caller)

    def give(self, caller: Caller) -> None:
        """Hands the lead over, if it is `caller`'s: first to those who want steps."""
        if self._leader is not caller:
            return
        with self._mutex:
            self._leader = None
            if not self._waiting:
                return
            self._wake()
            following = next((other for other in self._waiting if other.ready is not never), None)
            following = following or next(iter(self._waiting), None)
            if following is not None:
                self._appoint(following)

    def _wake(self) -> None:
        for caller in [caller for caller in self._waiting if caller.ready()]:
            del self._waiting[caller]
            caller.wake()

    def _appoint(self, caller: Caller) -> None:
        del self._waiting[caller]
        self._leader = caller
        caller.wake()


class Alone:
    """The lead for the length of a `with` block, between two steps of others."""

    __slots__ = ("_caller", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._caller = Caller()

    def __enter__(self) -> None:
        try:
            self._turns.lead(self._caller)
        except BaseException:
            self._caller.leads = False
            self._turns.give(self._caller)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._caller.leads = False
        self._turns.give(self._caller)

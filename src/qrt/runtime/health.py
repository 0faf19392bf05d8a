"""How an engine is: what it is at, what it has done. Read from any thread, without waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from qrt.runtime.records import Plain

if TYPE_CHECKING:
    from qrt.runtime.request import Request


@dataclass(slots=True)
class Counts(Plain):
    """What an engine has done since it was made; the leader alone counts."""

    n_steps: int = 0
    n_rows: int = 0
    """Rows of all steps: by `n_steps`, how many share one."""
    n_prompt_tokens: int = 0
    """Rows of prompts, and of what was computed again after its pages were taken."""
    n_cached_tokens: int = 0
    """Those of prompts that needed no row: they were stored."""
    n_tokens: int = 0
    """Tokens of answers."""
    prompt_s: float = 0.0
    answer_s: float = 0.0
    """Seconds of steps with their sampling, shared out by rows."""
    n_preempted: int = 0
    """Times that a generation had to give up its pages."""
    n_ended: int = 0
    """Generations that have ended, whatever the reason."""

    def count_step(self, n_prompt_rows: int, n_rows: int, seconds: float) -> None:
        """Counts a step."""
        self.n_steps += 1
        self.n_rows += n_rows
        self.n_prompt_tokens += n_prompt_rows
        self.prompt_s += seconds * n_prompt_rows / n_rows
        self.answer_s += seconds * (n_rows - n_prompt_rows) / n_rows


@dataclass(frozen=True, slots=True)
class Running(Plain):
    """A generation that is computed, or waits to be."""

    number: int
    """In order of arrival."""
    priority: int
    is_waiting: bool
    n_prompt_tokens: int
    n_stored: int
    """Tokens of prompt and answer whose keys and values are computed."""
    n_tokens: int
    """Tokens of the answer so far."""


@dataclass(frozen=True, slots=True)
class Health(Plain):
    """How an engine is."""

    step_s: float
    """How long the step under way has been running; 0 between steps."""
    idle_s: float
    """How long ago the last step ended; 0 while one runs."""
    is_stuck: bool
    """Whether the step under way has been running for longer than `Limits.stuck_s`."""
    n_pages: tuple[int, ...]
    """Pages or slots of each state group."""
    n_free_pages: tuple[int, ...]
    """Those that nothing refers to."""
    generations: tuple[Running, ...]
    """By arrival."""
    counts: Counts

    @property
    def n_running(self) -> int:
        """Generations that are computed."""
        return sum(not one.is_waiting for one in self.generations)

    @property
    def n_waiting(self) -> int:
        """Generations that wait for room."""
        return sum(one.is_waiting for one in self.generations)


class Pulse:
    """When the leader began what it is at, which `qrt.runtime.watch` looks at."""

    def __init__(self) -> None:
        self.step_since: float | None = None
        self.step_end = perf_counter()
        self.hook: tuple[int, float, Request] | None = None
        """Thread, begin and generation of a function of a caller's that runs now."""
        self.lock = threading.Lock()
        """Held to end `hook`, and to interrupt it: never one after the other."""

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around a step."""
        self.step_since = perf_counter()
        try:
            yield
        finally:
            self.step_end = perf_counter()
            self.step_since = None

    @contextmanager
    def calling(self, request: Request) -> Iterator[None]:
        """Around functions of a caller's."""
        self.hook = threading.get_ident(), perf_counter(), request
        try:
            yield
        finally:
            with self.lock:
                self.hook = None

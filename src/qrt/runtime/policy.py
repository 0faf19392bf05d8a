"""What an engine runs next. Pure: jobs and numbers in, a decision out.

Every step has a row of each generation that decodes, and at most one chunk of prompts, so that
nobody waits longer than one chunk between two tokens. Prompts are computed oldest first. Who came
first is never made to give way: it ends, then the next is first.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Protocol, TypeVar

from qrt.graph.batch import PAGE_LEN

AHEAD = 4
"""Tokens that a stream is computed ahead of its reader while others run too: threads that read
one token at a time would otherwise miss every other step."""


class Job(Protocol):
    """A generation as the policy sees it."""

    @property
    def n_stored(self) -> int:
        """Rows of it that are computed."""

    @property
    def n_left(self) -> int:
        """Rows to compute until it gives its next token."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for its next token."""


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a policy.

    max_rows: rows of one step. max_running: generations in one step; each adds its wait for its
    token, and decoding is bound by arithmetic, not by weights, from about 32 rows on.
    max_waiting: generations that wait to be admitted. shared_chunk: rows of prompts in a step in
    which others decode: half a full step halves their wait, and costs a prompt a few per cent.
    """

    max_rows: int
    max_running: int = 64
    max_waiting: int = 256
    shared_chunk: int = 256

    @property
    def n_running(self) -> int:
        """Generations in one step: rows are left for a prompt."""
        return max(1, min(self.max_running, self.max_rows // 2))


def admits(need: tuple[int, ...], room: tuple[int, ...], n_running: int, limits: Limits) -> bool:
    """Whether one that needs so many pages of each group is started beside `n_running` others."""
    if n_running == 0:
        return True
    return n_running < limits.n_running and all(
        needed <= free for needed, free in zip(need, room, strict=True)
    )


def plan(jobs: Items[AnyJob], limits: Limits, *, at_borders: bool) -> list[tuple[AnyJob, int]]:
    """The next step: jobs and how many rows of each, of those given in order of their arrival.

    at_borders: a part of a prompt ends at a page border, where a state can be kept.
    """
    jobs = jobs[: limits.n_running]
    rows = [(job, 1) for job in jobs if job.n_left == 1]
    if len(rows) == len(jobs):
        return rows
    budget = limits.max_rows - len(rows)
    if rows:
        budget = min(budget, limits.shared_chunk)
    for job in jobs:
        if job.n_left == 1:
            continue
        n_rows = min(job.n_left, budget)
        if at_borders:
            n_rows = _to_border(job.n_stored, n_rows)
        rows.append((job, n_rows))
        budget -= n_rows
        if budget <= 0:
            break
    return rows


def victims(jobs: Items[AnyJob]) -> Iterator[AnyJob]:
    """Who gives way when pages run out, of those that run in order of arrival.

    First those whose reader is elsewhere, then the youngest; the first that is wanted stays.
    """
    wanted = [job for job in jobs if job.is_wanted]
    yield from (job for job in reversed(jobs) if not job.is_wanted)
    yield from reversed(wanted[1:])


def _to_border(start: int, n_rows: int) -> int:
    """Rows up to the last page border within `n_rows`; all of them if there is none."""
    end = (start + n_rows) // PAGE_LEN * PAGE_LEN
    return end - start if end > start else n_rows

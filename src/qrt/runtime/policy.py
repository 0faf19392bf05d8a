"""What an engine runs next. Pure: jobs and numbers in, a decision out.

Every step has a row of each generation that decodes, and at most one chunk of prompts, or one text
for an encoder, so that nobody waits longer than that between two tokens. Jobs are given by rank: by
falling priority, the oldest first among equals. Prompts are computed in that order, and the first
job is never made to give way: it ends, then the next is first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from qrt.graph.batch import PAGE_LEN

AHEAD = 4
"""Tokens that a stream is computed ahead of its reader while others run too: threads that read
one token at a time would otherwise miss every other step."""

AHEAD_OF_LOOP = 16
"""Tokens that are computed ahead of a task of an event loop, which comes for several at a time."""


SHARED_CHUNKS: Final[Mapping[str, int]] = {"low": 64, "balanced": 256, "throughput": 1 << 30}
"""The knob for latency against throughput: `Limits.shared_chunk` by its names."""


class Job(Protocol):
    """A generation as the policy sees it."""

    @property
    def n_stored(self) -> int:
        """Rows of it that are computed."""

    @property
    def n_left(self) -> int:
        """Rows to compute until it gives its next token."""

    @property
    def n_whole(self) -> int:
        """Rows that one step computes together, beside the rows of all others; 0 for none."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for its next token."""

    @property
    def branch(self) -> int:
        """The page border up to which others have begun alike; 0: none."""


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a policy.

    max_rows: rows of one step. max_running: generations in one step; each adds its wait for its
    token, and decoding is bound by arithmetic, not by weights, from about 32 rows on.
    max_waiting: generations that wait to be admitted. shared_chunk: rows of prompts in a step in
    which others decode: half a full step halves their wait, and costs a prompt a few per cent.
    stuck_s: seconds after which a step, or a function of a caller's in it, counts as hanging.
    """

    max_rows: int
    max_running: int = 64
    max_waiting: int = 256
    shared_chunk: int = SHARED_CHUNKS["balanced"]
    stuck_s: float = 60.0

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
    """The next step: jobs and how many rows of each, of those given by rank.

    at_borders: a part of a prompt ends at a page border, where a state can be kept, and none goes
    past that up to which others have begun alike.
    """
    jobs = jobs[: limits.n_running]
    rows = [(job, 1) for job in jobs if job.n_left == 1]
    if len(rows) == len(jobs):
        return rows
    budget, text_budget, n_text = limits.max_rows - len(rows), limits.max_rows, 0
    if rows:
        budget, text_budget = (min(rest, limits.shared_chunk) for rest in (budget, text_budget))
    for job in jobs:
        if job.n_whole and (n_text == 0 or n_text + job.n_whole <= text_budget):
            rows.append((job, job.n_whole))
            n_text += job.n_whole
            continue
        if job.n_whole:
            text_budget = 0
        if job.n_whole or job.n_left == 1 or budget <= 0:
            continue
        n_rows = min(job.n_left, budget)
        if at_borders:
            n_rows = _to_border(job.n_stored, n_rows, job.branch)
        rows.append((job, n_rows))
        budget -= n_rows
    return rows


def victims(jobs: Items[AnyJob]) -> Iterator[AnyJob]:
    """Who gives way when pages run out, of those that run, given by rank.

    First those whose reader is elsewhere, then the last, the youngest of the lowest priority; the
    first that is wanted stays. What readers come to want meanwhile changes nothing.
    """
    wanted, others = list[AnyJob](), list[AnyJob]()
    for job in jobs:
        (wanted if job.is_wanted else others).append(job)
    yield from reversed(others)
    yield from reversed(wanted[1:])


def _to_border(start: int, n_rows: int, branch: int) -> int:
    """Rows up to the branch or the last page border within `n_rows`; all of them if there is
    none."""
    end = (start + n_rows) // PAGE_LEN * PAGE_LEN
    if start < branch < end:
        end = branch
    return end - start if end > start else n_rows

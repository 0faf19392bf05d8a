"""One kernel as a tape of its own, to be run and timed on a thread team."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from report import note

from qrt.config import cache_dir, default_threads
from qrt.kernels.isa import Tier
from qrt.kernels.layout import READ, READ_SUM, SCRATCH, STEP, fill
from qrt.kernels.objects import Library, load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team, aligned, lone_record


@dataclass(frozen=True)
class Job:
    """A tape of one kernel, with what its argument record refers to."""

    tape: NDArray[np.int64]
    step: NDArray[np.uint8]
    kept: tuple[NDArray[np.generic], ...]

    def seconds(self, team: Team) -> float:
        """One run on the whole team."""
        start = time.perf_counter()
        team.run(self.tape, self.step.ctypes.data)
        return time.perf_counter() - start


def job(
    kernel: int, args: list[int], n_rows: int, n_threads: int, kept: tuple[NDArray[np.generic], ...]
) -> Job:
    """A job that gives `kernel` the record `args` and a step of `n_rows` rows."""
    record = np.array(args, np.int64)
    scratch = aligned(SCRATCH * n_threads)
    step = aligned(STEP.size)
    words = step.view(np.int64)
    words[STEP.n_rows // 8] = n_rows
    words[STEP.scratch // 8] = scratch.ctypes.data
    return Job(lone_record(kernel, record), step, (record, scratch, *kept))


def compiled(names: Iterable[str], tier: Tier) -> Library:
    """These kernels, what reads memory, and those that a team needs."""

    def compiling(what: str, done: int, total: int) -> None:
        note(f"{what} {done}/{total}")

    wanted = dict.fromkeys((*TEAM_KERNELS, "read", *names))
    return load_kernels(list(wanted), tier, cache_dir(), default_threads, compiling)


def read_job(library: Library, data: NDArray[np.uint8], n_threads: int) -> Job:
    """Reads all of `data`."""
    sums = aligned(READ_SUM * n_threads)
    values = {"data": data.ctypes.data, "n_bytes": data.size, "sums": sums.ctypes.data}
    kernel = library.address("read")
    return job(kernel, list(fill(READ, values)), 1, n_threads, (data, sums))

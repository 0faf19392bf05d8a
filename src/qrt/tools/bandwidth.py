"""How fast this machine reads memory: the ceiling of decoding."""

from __future__ import annotations

import statistics
import time

import numpy as np

from qrt.backends.base import Progress
from qrt.backends.cpu.memory import address, reserve
from qrt.config import cache_dir, read_env
from qrt.kernels.isa import choose
from qrt.kernels.layout import READ, READ_SUM, STEP, fill
from qrt.kernels.objects import load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team, aligned, lone_record

READ_BYTES = 512 * 1024 * 1024
"""Far more than any cache holds."""

_N_RUNS = 7
_N_COMPILERS = 3


def measure_read_gb_s(n_threads: int, progress: Progress, n_bytes: int = READ_BYTES) -> float:
    """Gigabytes (1e9) a second that `n_threads` threads read, the median of 7 passes.

    Reads `n_bytes`, on huge pages as weights are. Raises BackendError where kernels cannot run.
    """
    env = read_env()
    names = [*TEAM_KERNELS, "read"]
    library = load_kernels(names, choose(env.isa), cache_dir(env), _N_COMPILERS, progress)
    data = reserve(n_bytes, huge=True)
    data.fill(1)  # untouched memory would be one page of zeros
    sums = aligned(READ_SUM * n_threads)
    values = {"data": address(data), "n_bytes": n_bytes, "sums": address(sums)}
    args = np.array(list(fill(READ, values)), np.int64)
    tape = lone_record(library.address("read"), args)
    step = aligned(STEP.size)
    team = Team(n_threads, library)
    try:
        seconds = []
        for _ in range(_N_RUNS):
            start = time.perf_counter()
            team.run(tape, address(step))
            seconds.append(time.perf_counter() - start)
    finally:
        team.close()
    return n_bytes / statistics.median(seconds) / 1e9

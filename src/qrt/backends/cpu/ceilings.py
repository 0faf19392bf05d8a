"""The most that this machine's threads can do: bytes read from memory, and multiply-adds."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from qrt.backends.cpu.memory import address, reserve
from qrt.config import cache_dir, read_env
from qrt.kernels.isa import choose
from qrt.kernels.layout import PEAK, PEAK_SUM, READ, READ_SUM, STEP, fill
from qrt.kernels.objects import load_kernels
from qrt.kernels.team import TEAM_KERNELS, Team, aligned, lone_record
from qrt.progress import Progress

READ_BYTES = 512 * 1024 * 1024
"""Far more than any cache holds."""

FLOPS_OF_LANE = {"int8": 8, "f32": 2}
"""Units of arithmetic, and what an instruction of each does in a lane of 32 bits."""

_N_RUNS = 7
_KERNELS = (*TEAM_KERNELS, "read", *(f"peak.{unit}" for unit in FLOPS_OF_LANE))
_N_COMPILERS = 3
_FIRST_LANES = 1536 * 128  # a multiple of 1536, as PEAK asks for
_LONG_S = 0.01
"""Beside this, to begin and end a run takes no time."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What some threads of this machine can do at most."""

    read_gb_s: float
    gflop_s: dict[str, float]
    """By unit: int8, the tier's dots of 8-bit numbers, and f32. A multiply-add counts as two."""


def measure_ceilings(n_threads: int, progress: Progress) -> Ceilings:
    """All ceilings of `n_threads` threads. Raises BackendError where kernels cannot run."""
    return Ceilings(
        measure_read_gb_s(n_threads, progress),
        {unit: measure_gflop_s(unit, n_threads, progress) for unit in FLOPS_OF_LANE},
    )


def measure_read_gb_s(n_threads: int, progress: Progress, n_bytes: int = READ_BYTES) -> float:
    """Gigabytes (1e9) a second that `n_threads` threads read, the median of 7 passes.

    Reads `n_bytes`, on huge pages as weights are. Raises BackendError where kernels cannot run.
    """
    data = reserve(n_bytes, huge=True)
    data.fill(1)  # untouched memory would be one page of zeros
    sums = aligned(READ_SUM * n_threads)
    values = {"data": address(data), "n_bytes": n_bytes, "sums": address(sums)}
    with closing(_Gauge("read", READ, n_threads, progress)) as gauge:
        seconds = statistics.median(gauge.seconds(values) for _ in range(_N_RUNS))
    return n_bytes / seconds / 1e9


def measure_gflop_s(unit: str, n_threads: int, progress: Progress) -> float:
    """1e9 operations a second of `n_threads` threads in a loop of one instruction on registers.

    The best of 7 runs. Raises BackendError where kernels cannot run.
    """
    sums = aligned(PEAK_SUM * n_threads)
    values = {"n_lanes": _FIRST_LANES, "sums": address(sums)}
    with closing(_Gauge(f"peak.{unit}", PEAK, n_threads, progress)) as gauge:
        while gauge.seconds(values) < _LONG_S:
            values["n_lanes"] *= 2
        seconds = min(gauge.seconds(values) for _ in range(_N_RUNS))
    return FLOPS_OF_LANE[unit] * values["n_lanes"] * n_threads / seconds / 1e9


class _Gauge:
    """Threads that run one kernel alone, with arguments laid out as `layout`."""

    def __init__(self, kernel: str, layout: object, n_threads: int, progress: Progress) -> None:
        env = read_env()
        tier = choose(env.isa)
        library = load_kernels(_KERNELS, tier, cache_dir(env), lambda: _N_COMPILERS, progress)
        self._kernel = library.address(kernel)
        self._layout = layout
        self._team = Team(n_threads, library)
        self._step = aligned(STEP.size)

    def seconds(self, values: dict[str, int]) -> float:
        """The time of one run with the arguments `values`."""
        tape = lone_record(self._kernel, np.array(list(fill(self._layout, values)), np.int64))
        start = time.perf_counter()
        self._team.run(tape, address(self._step))
        return time.perf_counter() - start

    def close(self) -> None:
        """Ends the threads."""
        self._team.close()

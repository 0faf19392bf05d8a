"""Times the records of a step's tape as they run, and counts what each of them has to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.executor import CpuExecutor, Walk
from qrt.backends.cpu.memory import address
from qrt.backends.cpu.recorder import Recorder, kernel_of
from qrt.backends.cpu.states import layer_bytes
from qrt.backends.cpu.tiling import tiling_for
from qrt.backends.cpu.variant import LINES, form_for
from qrt.config import cache_dir, read_env
from qrt.errors import BackendError
from qrt.graph.batch import Phase
from qrt.graph.op import Op
from qrt.graph.state import KV, PAGE_LEN
from qrt.kernels.layout import CLOCK, STEP, TAPE
from qrt.kernels.objects import load_kernels
from qrt.kernels.team import aligned
from qrt.progress import Progress

_CALIBRATION_S = 0.05


@dataclass(frozen=True, slots=True)
class Work:
    """What one record of a tape does in a step.

    `name` is the weight's, or that of the value that the op makes. `flops` are those of matmuls
    and attention, a multiply-add counting as two; `unit` is the arithmetic that does them, one of
    `ceilings.FLOPS_OF_LANE`, of several the slowest. The bytes are those that a step must read
    once.
    """

    kind: str
    name: str
    kernel: str
    weight_bytes: int
    state_bytes: int
    flops: int
    unit: str


def work_of(executor: CpuExecutor, n_rows: int, n_logits: int, start: int) -> list[Work]:
    """The work of every record for `n_rows` tokens of one sequence from position `start` on."""
    recorder = executor.recorder
    graph, weights = recorder.graph, recorder.weights
    variant = replace(recorder.variant, tiling=tiling_for(executor.tier, n_rows))
    found = []
    for task in recorder.plan.tasks:
        op, uses = task.op, task.op.weights(graph.widths)
        work = op.work(graph.widths, n_logits if task.of_logits else n_rows, start)
        shares = {use.name: 1.0 for use in uses} if work.weights is None else work.weights
        quantized = any(use.x and form_for(weights[use.name].qtype) == LINES for use in uses)
        found.append(
            Work(
                kind=type(op).__name__,
                name=op.label,
                kernel=kernel_of(task, variant),
                weight_bytes=sum(
                    int(weights[name].data.nbytes * share) for name, share in shares.items()
                ),
                state_bytes=_state_bytes(recorder, op, work.positions),
                flops=work.flops,
                unit="int8" if quantized else "f32",
            )
        )
    return found


def _state_bytes(recorder: Recorder, op: Op, n_positions: int) -> int:
    """Bytes that an op reads of so many positions' keys and values, and of whole states."""
    n_bytes = 0
    for key in op.state_reads:
        group = recorder.graph.states[recorder.graph.group_of(*key)]
        size = layer_bytes(group, recorder.variant.kv_type)
        n_bytes += n_positions * size // PAGE_LEN if isinstance(group, KV) else size
    return n_bytes


@dataclass(frozen=True, slots=True)
class StepTimes:
    """One step: `work_s` and `wait_s` of every record, (n_records,) float64, means over threads.

    A record's wait is that at its barrier, for the slowest thread.
    """

    seconds: float
    """What `run_step` took as a whole."""
    work_s: NDArray[np.float64]
    wait_s: NDArray[np.float64]


class StepClock:
    """Times the records of an executor's steps where they stand: its tapes stay as they are."""

    def __init__(self, executor: CpuExecutor, progress: Progress) -> None:
        """Raises BackendError where the clock's kernel cannot be compiled or kept, or where a step
        has records that are of no op: those that read weights.
        """
        if executor.recorder.staging is not None:
            raise BackendError(
                "packed weights do not fit into memory, and steps wait for the disk; "
                "profile a model that fits"
            )
        directory = cache_dir(read_env())
        self._library = load_kernels(["clock"], executor.tier, directory, lambda: 1, progress)
        self._clock = self._library.address("clock")
        self._executor = executor
        self._clocked: dict[tuple[Phase, int], _Clocked] = {}  # int: the address of a tape
        self._ticks_per_s = self._measure_ticks_per_s()

    def time(self, run_step: Callable[[], object]) -> StepTimes:
        """The times of the one step that `run_step` runs, with clocks between its records."""
        executor, walks = self._executor, self._executor.walks
        walked: list[_Clocked] = []

        def timed(phase: Phase) -> Walk:
            def walk(tape: NDArray[np.int64], step: int, *, interruptible: bool = False) -> None:
                key = phase, address(tape)
                if key not in self._clocked:
                    self._clocked[key] = self._with_clocks(phase, tape)
                walked.append(self._clocked[key])
                walks[phase](walked[-1].records, step, interruptible=interruptible)

            return walk

        executor.walks = {phase: timed(phase) for phase in walks}
        start = time.perf_counter()
        try:
            run_step()
        finally:
            seconds = time.perf_counter() - start
            executor.walks = walks
        (clocked,) = walked
        span_s = np.diff(clocked.stamps).mean(axis=0) / self._ticks_per_s
        return StepTimes(seconds, span_s[0::2], span_s[1::2])

    def _with_clocks(self, phase: Phase, tape: NDArray[np.int64]) -> _Clocked:
        return _Clocked(tape, self._clock, self._executor.settings.threads_of(phase))

    def _measure_ticks_per_s(self) -> float:
        lone = self._with_clocks("decode", np.empty((0, TAPE.size // 8), np.int64))
        step = aligned(STEP.size)

        def now() -> tuple[int, float]:
            self._executor.walks["decode"](lone.records, address(step))
            return int(lone.stamps[0, 0]), time.perf_counter()

        first_ticks, first_s = now()
        time.sleep(_CALIBRATION_S)
        last_ticks, last_s = now()
        return (last_ticks - first_ticks) / (last_s - first_s)


class _Clocked:
    """A tape with a clock before each record, one behind its work, and one behind its barrier.

    `stamps` (n_threads, 2 * n_records + 1) int64 are the ticks that they find.
    """

    def __init__(self, tape: NDArray[np.int64], clock: int, n_threads: int) -> None:
        n_records = len(tape)
        n_stamps = 2 * n_records + 1
        stride = -(-8 * n_stamps // 64) * 64  # threads share no cache line
        memory = aligned(stride * n_threads)
        self.stamps = memory.view(np.int64).reshape(n_threads, -1)[:, :n_stamps]
        self._args = np.empty((n_stamps, CLOCK.size // 8), np.int64)
        self._args[:, CLOCK.stamps // 8] = address(memory) + 8 * np.arange(n_stamps)
        self._args[:, CLOCK.stride // 8] = stride
        clocks = np.zeros((n_stamps, TAPE.size // 8), np.int64)
        clocks[:, TAPE.kernel // 8] = clock
        clocks[:, TAPE.args // 8] = address(self._args) + CLOCK.size * np.arange(n_stamps)
        clocks[1::2, TAPE.barrier // 8] = tape[:, TAPE.barrier // 8]
        clocks[-1, TAPE.barrier // 8] = 1  # nobody reads the stamps before all are there
        work = tape.copy()
        work[:, TAPE.barrier // 8] = 0
        rest = np.stack([work, clocks[1::2], clocks[2::2]], axis=1)  # (n_records, 3, 3)
        self.records = np.concatenate([clocks[:1], rest.reshape(-1, TAPE.size // 8)])

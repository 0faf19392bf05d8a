"""Times the records of a step's tape one by one, and counts what each of them has to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qrt.backends.cpu.executor import CpuExecutor, Walk
from qrt.backends.cpu.kv import page_sizes
from qrt.backends.cpu.memory import address
from qrt.backends.cpu.placement import tiling_for
from qrt.backends.cpu.recorder import kernel_of
from qrt.graph.batch import Phase
from qrt.graph.ir import Attention, Embed, Linear, Norm
from qrt.graph.lower import StoreKV, Task
from qrt.kernels.layout import PAGE, STEP, TAPE
from qrt.kernels.team import aligned

T = TypeVar("T")

_N_IDLE_RUNS = 50


@dataclass(frozen=True, slots=True)
class Work:
    """What one record of a tape does in a step.

    `name` is the weight's, or that of the value that the op makes. `flops` are those of matmuls
    and attention, a multiply-add counting as two; the bytes are those that a step must read once.
    """

    kind: str
    name: str
    kernel: str
    weight_bytes: int
    kv_bytes: int
    flops: int


def work_of(
    executor: CpuExecutor, phase: Phase, n_rows: int, n_logits: int, start: int
) -> list[Work]:
    """The work of every record for `n_rows` tokens of one sequence from position `start` on."""
    recorder = executor.recorder
    weights, kv_type = recorder.weights, recorder.kv_type
    qtypes = {name: weight.qtype for name, weight in weights.items()}
    page_bytes = page_sizes(recorder.graph, kv_type)
    tiling = tiling_for(executor.tier, phase, n_rows)

    def size(*names: str | None) -> int:
        return sum(weights[name].data.nbytes for name in names if name)

    def amounts(task: Task) -> tuple[str, int, int, int]:
        """(name, bytes of weights, bytes of keys and values, flops)"""
        rows = n_logits if task.of_logits else n_rows
        match task.op:
            case Embed() as op:
                return op.table, size(op.table) * rows // weights[op.table].shape[0], 0, 0
            case Norm() as op:
                return op.weight, size(op.weight, op.bias), 0, 0
            case Linear() as op:
                n_out, n_in = weights[op.weight].shape
                return op.weight, size(op.weight, op.bias), 0, 2 * rows * n_in * n_out
            case Attention() as op:
                window = op.window or start + n_rows
                n_read = min(start + n_rows, window - 1 + n_rows)
                n_pairs = sum(min(start + row + 1, window) for row in range(n_rows))
                flops = 4 * n_pairs * op.n_heads * op.head_dim
                return op.out, 0, n_read * page_bytes[op.layer] // PAGE, flops
            case StoreKV() as op:
                return f"blk.{op.layer}.attn_kv", 0, 0, 0
            case op:
                return op.out, 0, 0, 0

    found = []
    for task in recorder.plan.tasks:
        kernel = kernel_of(task, qtypes, kv_type, tiling)
        name, *counts = amounts(task)
        found.append(Work(type(task.op).__name__, name, kernel, *counts))
    return found


def tape_s(executor: CpuExecutor, run_step: Callable[[], T]) -> tuple[float, T]:
    """Seconds that walking the tape takes in the one step that `run_step` runs; its result."""
    walk = executor.walk
    seconds: list[float] = []

    def timed(tape: NDArray[np.int64], step: int, *, interruptible: bool = False) -> None:
        start = time.perf_counter()
        walk(tape, step, interruptible=interruptible)
        seconds.append(time.perf_counter() - start)

    result = _with_walk(executor, timed, run_step)
    return sum(seconds), result


def record_s(executor: CpuExecutor, run_step: Callable[[], object]) -> list[float]:
    """Seconds of every record in the one step that `run_step` runs, each walked by itself.

    What it takes to walk a record that has nothing to do is measured as well and taken off.
    """
    walk = executor.walk
    seconds: list[float] = []

    def apart(tape: NDArray[np.int64], step: int, *, interruptible: bool = False) -> None:  # noqa: ARG001
        alone = tape.copy()
        alone[:, TAPE.barrier // 8] = 1
        records = [alone[i : i + 1] for i in range(len(alone))]
        idle = aligned(STEP.size)  # a step without rows
        starts = [_seconds(walk, records[0], address(idle)) for _ in range(_N_IDLE_RUNS)]
        start_s = statistics.median(starts)
        seconds.extend(max(0.0, _seconds(walk, record, step) - start_s) for record in records)

    _with_walk(executor, apart, run_step)
    return seconds


def _seconds(walk: Walk, tape: NDArray[np.int64], step: int) -> float:
    start = time.perf_counter()
    walk(tape, step)
    return time.perf_counter() - start


def _with_walk(executor: CpuExecutor, walk: Walk, run_step: Callable[[], T]) -> T:
    before = executor.walk
    executor.walk = walk
    try:
        return run_step()
    finally:
        executor.walk = before

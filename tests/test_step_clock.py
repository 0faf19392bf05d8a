"""The clock between the records of a tape, and the work that each of them is counted to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import N_VOCAB
from steps import prepare, segment, step

from qrt.backends import cpu
from qrt.backends.cpu.executor import CpuExecutor, Walk
from qrt.backends.cpu.profile import StepClock, work_of
from qrt.backends.cpu.states import kv_bytes
from qrt.graph.batch import Phase
from qrt.graph.ops.attention import Attention
from qrt.kernels import layout
from qrt.progress import no_progress

pytestmark = pytest.mark.usefixtures("lab")

N_LAYERS = 2
Ready = Callable[..., CpuExecutor]


@pytest.fixture
def ready(data: Path) -> Iterator[Ready]:
    """Prepares a small model."""
    executors: list[CpuExecutor] = []

    def start(**changes: Any) -> CpuExecutor:
        executors.append(prepare(cpu, data / "quant" / "llama-Q8_0.gguf", **changes))
        return executors[-1]

    yield start
    for executor in executors:
        executor.close()


def run(executor: CpuExecutor, n_rows: int) -> bytes:
    """A step of so many rows; the last gives logits."""
    tokens = (7 * np.arange(n_rows) + 3) % N_VOCAB
    return step(executor, segment(tokens, logit_rows=[n_rows - 1])).tobytes()


def test_clocks_change_neither_the_step_nor_the_tape(ready: Ready) -> None:
    executor = ready()
    walk = executor.walks["prefill"]
    clock = StepClock(executor, no_progress)
    tapes: list[NDArray[np.int64]] = []

    def watch(tape: NDArray[np.int64], at: int, *, interruptible: bool = False) -> None:
        tapes.append(tape.copy())
        walk(tape, at, interruptible=interruptible)

    walks: dict[Phase, Walk] = {"prefill": watch, "decode": executor.walks["decode"]}
    executor.walks = walks
    whole = run(executor, 100)
    run(executor, 40)
    found: list[bytes] = []
    times = clock.time(lambda: found.append(run(executor, 100)))
    assert found == [whole]

    records = work_of(executor, 100, 1, 0)
    assert times.work_s.shape == times.wait_s.shape == (len(records),)
    assert times.work_s.min() > 0 < times.wait_s.min()
    assert executor.walks is walks
    tape_s = times.work_s.sum() + times.wait_s.sum()
    assert 0.05 * times.seconds < tape_s < times.seconds

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        clock.time(fail)
    assert executor.walks is walks
    assert run(executor, 100) == whole
    plain, _, clocked, again = tapes
    np.testing.assert_array_equal(plain, again)
    assert len(plain) == len(executor.recorder.plan.tasks)
    work, barrier = clocked[1::3], layout.TAPE.barrier // 8
    np.testing.assert_array_equal(work[:, :barrier], plain[:, :barrier])
    assert not work[:, barrier].any()
    np.testing.assert_array_equal(clocked[2::3, barrier], plain[:, barrier])
    assert clocked[-1, barrier], "stamps may be read before all are there"
    with pytest.raises(KeyError):
        executor.recorder.library.address("clock")


def test_a_slow_thread_shows_as_waiting_of_the_others(ready: Ready) -> None:
    """A norm of one row is done by one thread: the other two wait for it."""
    executor = ready(n_threads=3)
    clock = StepClock(executor, no_progress)
    times = [clock.time(lambda: run(executor, 1)) for _ in range(20)]
    wait_s = np.median([one.wait_s for one in times], axis=0)
    barriers = np.array([task.barrier for task in executor.recorder.plan.tasks])
    assert wait_s[barriers].mean() > 3 * wait_s[~barriers].mean()


def test_each_phase_is_timed_on_its_own_threads(ready: Ready) -> None:
    n_threads: dict[Phase, int] = {"prefill": 1, "decode": 3}
    executor = ready(n_threads=1, decode_threads=3)
    clock = StepClock(executor, no_progress)
    for n_rows in (96, 33, 32, 1):
        clock.time(lambda n_rows=n_rows: run(executor, n_rows))
    assert {phase for phase, _ in clock._clocked} == {*n_threads}
    for (phase, _), clocked in clock._clocked.items():
        assert len(clocked.stamps) == n_threads[phase]
        assert clocked.stamps.all()


@pytest.mark.parametrize("window", [None, 1, 40, 64, 500])
def test_attention_reads_each_position_that_any_row_sees(data: Path, window: int | None) -> None:
    with closing(prepare(cpu, data / "quant" / "llama-Q8_0.gguf")) as executor:
        recorder = executor.recorder
        task = next(t for t in recorder.plan.tasks if isinstance(t.op, Attention))
        plan = replace(recorder.plan, tasks=(replace(task, op=replace(task.op, window=window)),))
        executor.recorder = replace(recorder, plan=plan)
        bytes_per_token = kv_bytes(recorder.graph.states, "f16", 1)
        assert bytes_per_token == N_LAYERS * 2 * 2 * 32 * 2  # layers, kv heads, K and V, f16
        for start, n_rows in ((0, 1), (0, 100), (70, 1), (70, 100)):
            (work,) = work_of(executor, n_rows, 1, start)
            seen = [
                {p for p in range(row + 1) if window is None or p > row - window}
                for row in range(start, start + n_rows)
            ]
            n_read = len(set().union(*seen))
            assert work.state_bytes * N_LAYERS == n_read * bytes_per_token
            widths = task.op.k_width + task.op.v_width
            assert work.flops == 2 * sum(map(len, seen)) * task.op.n_heads * widths


def test_work_counts_weights_by_use(ready: Ready) -> None:
    """A table that is looked up counts by rows, a matmul's weights whole, logits by their rows."""
    executor = ready()
    by_name = {work.name: work for work in work_of(executor, 100, 3, 0)}
    weights = executor.recorder.weights
    table, gate, output = (
        by_name[f"{name}.weight"] for name in ("token_embd", "blk.0.ffn_gate", "output")
    )
    assert table.weight_bytes == 100 * weights["token_embd.weight"].data.nbytes // N_VOCAB
    assert gate.weight_bytes == weights["blk.0.ffn_gate.weight"].data.nbytes
    assert gate.flops == 2 * 100 * 256 * 512
    assert output.flops == 2 * 3 * 256 * N_VOCAB
    assert (gate.unit, by_name["blk.0.attn"].unit) == ("int8", "f32")
    kernels = [
        {w.kernel for w in work_of(executor, n, 1, 0) if w.name == gate.name} for n in (1, 33)
    ]
    assert kernels[0] == {"matmul.Q8_0.1"}
    assert kernels[1] != kernels[0]

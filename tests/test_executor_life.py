"""What may happen to an executor in a process's life: forks, interrupts, `cancel()` at any time."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import TOKENS
from steps import prepare, segment, step
from test_barriers import KERNEL, stretches

from qrt.backends import cpu
from qrt.backends.base import Cancelled
from qrt.backends.cpu.executor import CpuExecutor, Walk
from qrt.graph.batch import Batch
from qrt.kernels.layout import SPLIT
from qrt.kernels.team import Team

pytestmark = pytest.mark.usefixtures("lab")

LIMIT_S = 30
DEEP = np.resize(TOKENS, SPLIT + 40)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")


@pytest.fixture
def model(data: Path) -> Iterator[CpuExecutor]:
    """Its sequence is so long that the splits of a row are shared among threads."""
    with closing(prepare(cpu, data / "arch" / "qwen3-dense.gguf")) as one:
        for at in range(0, len(DEEP), 100):
            step(one, segment(DEEP[at : at + 100], at))
        yield one


def decoded(model: CpuExecutor) -> bytes:
    """A digest of a deep decode step, and of a prefill beside it."""
    found = step(model, segment([7], len(DEEP))).tobytes()
    found += step(model, segment(TOKENS, table=[6])).tobytes()
    return hashlib.sha256(found).digest()


def in_child(run: Callable[[], bytes]) -> bytes:
    """What `run` gives in a forked process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that threads run is the point
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, run())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], LIMIT_S)
        assert ready, "the child hangs"
        return os.read(reading, 1000)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)


@forks
def test_a_forked_process_goes_on(model: CpuExecutor) -> None:
    want = decoded(model)
    assert in_child(lambda: decoded(model)) == want
    assert in_child(lambda: in_child(lambda: decoded(model))) == want
    assert decoded(model) == want


@forks
def test_a_fork_while_another_thread_holds_the_lock(model: CpuExecutor) -> None:
    want = decoded(model)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with model._teams["decode"]._busy:
            held.set()
            done.wait(LIMIT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(LIMIT_S)
    try:
        assert in_child(lambda: decoded(model)) == want
    finally:
        done.set()
        holder.join()
    assert decoded(model) == want


@forks
def test_a_fork_in_the_midst_of_an_attention(model: CpuExecutor) -> None:
    """One thread has finished its splits of each row, the others never will."""
    want = decoded(model)
    walks, midst, done = model.walks, threading.Event(), threading.Event()
    names = {
        model.recorder.library.address(name)
        for _, where in model.placement()
        if (name := where.split()[-1]).startswith("attention")
    }

    def walk(tape: NDArray[np.int64], at: int, *, interruptible: bool = False) -> None:
        space = np.zeros(8, np.int64)
        for records in stretches(tape):
            for thread in range(2):
                for kernel, args, _ in records.tolist():
                    KERNEL(kernel)(space.ctypes.data, space.ctypes.data, at, args, thread, 2)
                    if kernel in names and not midst.is_set():
                        midst.set()
                        done.wait(LIMIT_S)
        assert not interruptible

    model.walks = dict.fromkeys(walks, walk)
    other = threading.Thread(target=step, args=(model, segment([7], len(DEEP))))
    other.start()
    assert midst.wait(LIMIT_S)

    def goes_on() -> bytes:
        model.walks = walks
        return decoded(model)

    try:
        assert in_child(goes_on) == want
    finally:
        done.set()
        other.join()
        model.walks = walks
    assert decoded(model) == want


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("started", [True, False])
def test_an_interrupt_while_a_thread_starts(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int, started: bool
) -> None:
    """Whether or not the thread runs: no step is walked twice or by too many."""
    model = prepare(cpu, data / "arch" / "qwen3-dense.gguf", n_threads=3)
    want = decoded_short(model)
    before = set(threading.enumerate())
    team = Team(3, model.recorder.library)  # whose threads have not started
    model.walks = dict.fromkeys(model.walks, team.run)
    start = threading.Thread.start
    n_interrupts, n_most = 0, 1 if started and number else 2

    def interrupted(thread: threading.Thread) -> None:
        nonlocal n_interrupts
        ours = thread.name == f"qrt-{number}" and n_interrupts < n_most
        if started or not ours:
            start(thread)
        if ours:
            n_interrupts += 1
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    for _ in range(n_most):
        with pytest.raises(KeyboardInterrupt):
            decoded_short(model)
    for _ in range(20):
        assert decoded_short(model) == want
    names = [thread.name for thread in set(threading.enumerate()) - before]
    assert sorted(name for name in names if name != "qrt-0") == ["qrt-1", "qrt-2"]
    team.close()
    model.close()


def decoded_short(model: CpuExecutor) -> bytes:
    return step(model, segment(TOKENS)).tobytes() + step(model, segment([3], 48)).tobytes()


WHEN = ("before", "while it is prepared", "as the walk begins", "after the walk")


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("n_rows", [1, 48])
def test_cancel_at_any_time(
    model: CpuExecutor, monkeypatch: pytest.MonkeyPatch, when: str, n_rows: int
) -> None:
    """It stops the step and every later one; none is lost between two."""
    fill, walks = model._memory.fill, dict(model.walks)

    def cancel_and_fill(batch: Batch, hidden: NDArray[np.float32] | None) -> None:
        model.cancel()
        fill(batch, hidden)

    def cancelling(walk: Walk) -> Walk:
        def run(tape: NDArray[np.int64], at: int, *, interruptible: bool = False) -> None:
            if when == WHEN[2]:
                model.cancel()
            walk(tape, at, interruptible=interruptible)
            if when == WHEN[3]:
                model.cancel()

        return run

    if when == WHEN[0]:
        model.cancel()
    elif when == WHEN[1]:
        monkeypatch.setattr(model._memory, "fill", cancel_and_fill)
    else:
        model.walks = {phase: cancelling(walk) for phase, walk in walks.items()}
    rows = segment(TOKENS[:n_rows], table=[6])
    with pytest.raises(Cancelled):
        step(model, rows)
    monkeypatch.undo()
    model.walks = walks
    for _ in range(2):
        with pytest.raises(Cancelled):
            step(model, rows)

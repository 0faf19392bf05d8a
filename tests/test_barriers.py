"""The barriers of a tape suffice: threads may run as far apart as they allow, in any order."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from oracles import TOKENS
from steps import prepare, segment, step

from qrt.backends import cpu
from qrt.backends.cpu.executor import CpuExecutor, Walk
from qrt.errors import NonFiniteError
from qrt.kernels.layout import SPLIT, TAPE

pytestmark = pytest.mark.usefixtures("lab")

N_THREADS = 3
FORWARDS, BACKWARDS = range(N_THREADS), range(N_THREADS - 1, -1, -1)
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * 6)
"""A kernel as numba compiles it: two scratch addresses, then step, args, thread, n_threads."""


def stretches(tape: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Records between two barriers, (n_records, 3)."""
    ends = np.flatnonzero(tape[:, TAPE.barrier // 8]) + 1
    yield from np.split(tape, ends)


def apart(order: Sequence[int], *, barriers: bool = True) -> Walk:
    """A walk in which each thread of `order` in turn runs all that it may before the next does."""

    def walk(tape: NDArray[np.int64], at: int, *, interruptible: bool = False) -> None:  # noqa: ARG001
        space = np.zeros(8, np.int64)
        for records in stretches(tape) if barriers else (tape,):
            for thread in order:
                for kernel, args, _ in records.tolist():
                    KERNEL(kernel)(
                        space.ctypes.data, space.ctypes.data, at, args, thread, N_THREADS
                    )

    return walk


def everything(model: CpuExecutor, walk: Walk | None = None) -> bytes:
    """Logits of a prefill, of several sequences at once, and of decoding so deep that the splits of
    a row are shared, walked by `walk`.
    """
    walks = dict(model.walks)
    deep = np.resize(TOKENS, SPLIT + 40)
    for at in range(0, len(deep), 100):
        step(model, segment(deep[at : at + 100], at))
    try:
        if walk is not None:
            model.walks = dict.fromkeys(walks, walk)
        found = [
            step(model, segment(TOKENS, table=[6])),
            step(model, segment([7], len(deep))),
            step(model, segment([5, 9], len(deep) + 1), segment([3], 48, table=[6])),
        ]
    finally:
        model.walks = walks
    return b"".join(logits.tobytes() for logits in found)


def outcome(model: CpuExecutor, walk: Walk) -> bytes:
    """`everything`, or the error of what is not finite."""
    try:
        return everything(model, walk)
    except NonFiniteError as error:
        return str(error).encode()


def executor(data: Path, name: str, kv_type: str) -> CpuExecutor:
    model = prepare(cpu, data / f"{name}.gguf", kv_type=kv_type, n_threads=N_THREADS)
    assert isinstance(model, CpuExecutor)
    return model


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@pytest.mark.parametrize(
    "name", ["arch/llama-dense", "arch/qwen2-dense", "arch/qwen3-dense", "quant/llama-Q4_K"]
)
def test_threads_may_run_as_far_apart_as_barriers_let_them(
    data: Path, name: str, kv_type: str
) -> None:
    with closing(executor(data, name, kv_type)) as model:
        want = everything(model)
        for order in (FORWARDS, BACKWARDS):
            assert everything(model, apart(order)) == want
        loose = {outcome(model, apart(order, barriers=False)) for order in (FORWARDS, BACKWARDS)}
        assert loose != {want}, "without barriers it must go wrong, or this proves nothing"


def test_most_barriers_are_needed(data: Path) -> None:
    """Without one of them, one of the orders gives other bits."""
    with closing(executor(data, "arch/qwen3-dense", "f16")) as model:
        want = everything(model)

        def without(number: int, order: Sequence[int]) -> Walk:
            inner = apart(order)

            def walk(tape: NDArray[np.int64], at: int, *, interruptible: bool = False) -> None:
                fewer = tape.copy()
                places = np.flatnonzero(tape[:-1, TAPE.barrier // 8])
                fewer[places[number], TAPE.barrier // 8] = 0
                inner(fewer, at, interruptible=interruptible)

            return walk

        barriers = [task.barrier for task in model.recorder.plan.tasks[:-1]]
        n_barriers = sum(barriers)
        seen = [
            any(outcome(model, without(number, order)) != want for order in (FORWARDS, BACKWARDS))
            for number in range(n_barriers)
        ]
    assert n_barriers > 20
    assert sum(seen) >= 0.8 * n_barriers, seen

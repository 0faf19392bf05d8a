"""The kernels that measure: sums that cannot be skipped, times in order, ceilings of a machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
from kernels import Buffer, Lab
from numpy.typing import NDArray

from qrt.backends.cpu.ceilings import measure_ceilings
from qrt.kernels import layout


def run(lab: Lab, n_threads: int, kernel: str, args: NDArray[np.int64]) -> None:
    tape = np.array([[lab.library.address(kernel), args.ctypes.data, 1]])
    step = np.zeros(layout.STEP.size // 8, np.int64)
    lab.teams[n_threads].run(tape, step.ctypes.data)


@pytest.mark.parametrize(("unit", "product"), [("int8", 5), ("f32", 0.375)])
@pytest.mark.parametrize("n_lanes", [0, 1536, 5 * 1536])
def test_peak_does_all_that_is_counted(
    any_lab: Lab, unit: str, product: float, n_lanes: int
) -> None:
    sums = Buffer((2, layout.PEAK_SUM // 4), np.int32 if unit == "int8" else np.float32)
    sums.array[:] = 0
    args = any_lab.record(layout.PEAK, n_lanes=n_lanes, sums=sums.address)
    run(any_lab, 2, f"peak.{unit}", args)
    sums.check()
    np.testing.assert_array_equal(sums.array.sum(axis=1), n_lanes * product)
    assert len(set(sums.array[0][sums.array[0] != 0])) == (n_lanes > 0)


def test_a_clock_goes_on_for_every_thread(lab: Lab) -> None:
    stamps = Buffer((2, 3, 8), np.int64)  # (moment, thread, stride)
    for moment in range(2):
        at = stamps.address + moment * 3 * 64
        run(lab, 3, "clock", lab.record(layout.CLOCK, stamps=at, stride=64))
        time.sleep(0.01)
    stamps.check()
    assert (stamps.array[:, :, 1:] == -1).all()
    first, second = stamps.array[:, :, 0]
    assert (first < second).all()
    assert np.ptp(second) < (second - first).min()  # one clock for all


def test_the_ceilings_are_those_of_a_computer() -> None:
    ceilings = measure_ceilings(1, lambda *_: None)
    assert 0.1 < ceilings.read_gb_s < 10_000
    assert ceilings.gflop_s.keys() == {"int8", "f32"}
    assert all(0.1 < value < 1e6 for value in ceilings.gflop_s.values())

"""The thread team: any number of threads, parked when idle, several teams, hard-pressed cores."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from kernels import BEST, Lab, load
from numpy.typing import NDArray

from qrt.kernels import layout
from qrt.kernels.objects import Library
from qrt.kernels.team import TEAM_KERNELS, Team


class Doubling:
    """A tape of `n_adds` records, each of which doubles a matrix, with a barrier after each."""

    def __init__(self, library: Library, n_adds: int, n_rows: int = 8) -> None:
        self.x = np.ones((n_rows, 5), np.float32)
        at = self.x.ctypes.data
        fields = {"a": at, "b": at, "out": at, "n_in": 5, "rows_of": layout.STEP.n_rows}
        self.args = np.array(list(layout.fill(layout.ADD, fields)), np.int64)
        row = [library.address("add"), self.args.ctypes.data, 1]
        self.tape: NDArray[np.int64] = np.array([row] * n_adds, np.int64)
        self.n_doublings = 2**n_adds
        self.step = np.zeros(layout.STEP.size // 8, np.int64)
        self.step[layout.STEP.n_rows // 8] = n_rows

    def run(self, team: Team, times: int, *, interruptible: bool = False) -> None:
        for _ in range(times):
            self.x[:] = 1
            team.run(self.tape, self.step.ctypes.data, interruptible=interruptible)
            assert (self.x == self.n_doublings).all()


@pytest.mark.parametrize(("n_threads", "times"), [(1, 2000), (2, 2000), (3, 300), (8, 60)])
def test_thousands_of_tiny_jobs(lab: Lab, n_threads: int, times: int) -> None:
    team = Team(n_threads, lab.library)
    Doubling(lab.library, 3).run(team, times)
    team.close()


def test_parked_when_idle_and_woken_again(lab: Lab) -> None:
    team = Team(3, lab.library)
    job = Doubling(lab.library, 2)
    for _ in range(5):
        job.run(team, 3)
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.02
        assert team._n_parked == 2
    team.close()


def test_two_teams_and_many_callers(lab: Lab) -> None:
    """Callers of one team wait for each other; teams do not know of each other."""
    teams = [Team(2, lab.library), Team(3, lab.library)]
    jobs = [Doubling(lab.library, 4, n_rows) for n_rows in (1, 2, 7, 64)]
    failures: list[BaseException] = []

    def call(number: int) -> None:
        try:
            jobs[number].run(teams[number % 2], 150, interruptible=number > 1)
        except BaseException as failure:  # told to the test below
            failures.append(failure)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
        assert not caller.is_alive()
    assert not failures
    for team in teams:
        team.close()


def test_an_interruptible_run_from_the_main_thread(lab: Lab) -> None:
    team = Team(2, lab.library)
    Doubling(lab.library, 2).run(team, 200, interruptible=True)
    team.close()


def test_a_cancelled_job_stops_at_a_barrier(lab: Lab) -> None:
    team = Team(3, lab.library)
    job = Doubling(lab.library, 20)
    job.step[layout.STEP.cancel // 8] = 1
    team.run(job.tape, job.step.ctypes.data)
    assert (job.x == 2).all()  # the first record, and no more
    job.step[layout.STEP.cancel // 8] = 0
    job.run(team, 10)
    team.close()


def test_use_after_close(lab: Lab) -> None:
    team = Team(2, lab.library)
    job = Doubling(lab.library, 1)
    job.run(team, 1)
    n_threads = threading.active_count()
    team.close()
    team.close()
    assert threading.active_count() == n_threads - 1
    with pytest.raises(RuntimeError, match="closed"):
        job.run(team, 1)


ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from kernels import BEST, load
from test_team import Doubling, Team
library = load(BEST, ("run", "work", "add"))
team = Team(3, library)
Doubling(library, 5).run(team, 200)
team.close()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_three_threads_on_one_cpu() -> None:
    load(BEST, (*TEAM_KERNELS, "add"))
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", ONE_CPU],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")

"""A server under load, in bursts, with clients that leave or stall, told to end, and killed."""

from __future__ import annotations

import asyncio

import pytest
from faults import RUNNING, SMALL, killed, serving, terminated

from qrt.config import cache_dir

KERNELS = str(cache_dir())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A machine with nothing but the embedded model."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("QRT_CACHE_DIR", KERNELS)
        yield folder


@pytest.fixture(scope="module")
def target(home):  # noqa: ARG001
    with serving("--cache-ram", "3") as (_, running):
        yield running


@pytest.mark.parametrize("case", RUNNING)
def test_a_server_survives(target, case):
    row = asyncio.run(RUNNING[case](target, **SMALL[case]))
    assert row["case"] == case


@pytest.mark.usefixtures("home")
def test_sigterm_lets_answers_end():
    terminated(**SMALL["term"])


def test_a_kill_leaves_nothing_in_the_way(home):
    killed(**SMALL["kill"])
    left = [path for path in home.rglob("*") if path.is_file() and ".tmp" in path.name]
    assert not left

"""The trial of tile registers: a machine that fails it in any way uses the next tier."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import BEST, RUNNABLE

from qrt.config import cache_dir
from qrt.errors import BackendError
from qrt.kernels import amx, isa
from qrt.kernels.isa import TIERS, choose, missing
from qrt.kernels.objects import cache_key

TIER = TIERS[BEST]


def test_the_trial_itself(tmp_path: Path) -> None:
    """Its panels and lines are made by hand; here with tiles in memory."""
    assert amx.multiplies(TIER, tmp_path)


def test_the_child_process_tells() -> None:
    command = [sys.executable, "-m", "qrt.kernels.amx", str(cache_dir())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == ("amx" in RUNNABLE)
    assert done.stderr.strip() == amx.permission()


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Has all children run a shell script instead of Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_trial_that_went_well_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / cache_key(TIER)).mkdir()
    child(tmp_path, monkeypatch, "kill -ILL $$")
    assert amx.why_not(TIER, tmp_path) == "a trial of tile registers failed: exit code -4"
    child(tmp_path, monkeypatch, "exit 0")
    assert not amx.why_not(TIER, tmp_path)
    child(tmp_path, monkeypatch, "echo first >&2; echo wrong results >&2; exit 1")
    assert not amx.why_not(TIER, tmp_path)
    monkeypatch.setattr(platform, "release", lambda: "another")
    assert amx.why_not(TIER, tmp_path) == "a trial of tile registers failed: wrong results"


def test_what_fails_the_trial_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    every = frozenset[str]().union(*(tier.needs for tier in TIERS.values()))
    monkeypatch.setattr(isa, "host_features", lambda: every)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(amx, "refused", lambda: "")
    assert choose("amx").name == "amx"
    assert choose(None).name == "amx"
    monkeypatch.setattr(amx, "refused", lambda: "no")
    with pytest.raises(BackendError, match="QRT_ISA=amx: no"):
        choose("amx")
    assert missing(TIERS["amx"], every) == "no"
    assert choose(None).name == "zen4"

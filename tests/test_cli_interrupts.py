"""Ctrl-C before a command has begun: quiet, with its exit code, wherever it comes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qrt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
ENDLESS = ("run", "hi", "--ignore-eos", "--context-shift", "-t", "1")

STARTER = """
import os, signal, sys

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)

def at_import(event, args):
    if event == "import" and args[0] == os.environ["AT_IMPORT"]:
        seconds = float(os.environ["AFTER_S"])
        if seconds:
            signal.signal(signal.SIGPROF, interrupt)
            signal.setitimer(signal.ITIMER_PROF, seconds)
        else:
            interrupt()

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(at_import)
"""
"""What Python runs at its start: a module's import, or CPU time after it, brings Ctrl-C."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The script that pip would install for `qrt`, and the interrupter."""
    qrt.load().close()  # compiles what is missing, which takes a while
    path = tmp_path_factory.mktemp("start")
    (path / "sitecustomize.py").write_text(STARTER)
    module, function = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]["qrt"].split(":")
    script = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    (path / "qrt_script.py").write_text(script)
    return path


def outcome(folder, door, module, after_s):
    start = {"module": ["-m", "qrt"], "script": [folder / "qrt_script.py"]}[door]
    done = subprocess.run(
        [sys.executable, *start, *ENDLESS],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (folder, *filter(None, sys.path)))),
            "AT_IMPORT": module,
            "AFTER_S": str(after_s),
        },
        **dict.fromkeys(("stdout", "stderr"), subprocess.PIPE),
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("door", ["module", "script"])
@pytest.mark.parametrize(
    "module",
    ["qrt.cli.interrupts", "qrt.cli.guard", "typer", "qrt.cli.loading", "numpy", "qrt.api"],
)
def test_ctrl_c_amid_an_import_is_quiet(folder, door, module):
    assert outcome(folder, door, module, 0) == (130, "")


@pytest.mark.parametrize("door", ["module", "script"])
@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.15, 0.2])
def test_ctrl_c_soon_after_the_start_is_quiet(folder, door, seconds):
    assert outcome(folder, door, "qrt.cli", seconds) == (130, "")

"""A program that makes every public call passes mypy's strict checks, and runs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import qrt

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tests" / "typed_program.py"


def run(*command: str) -> None:
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkers_are_told_that_the_package_is_typed() -> None:
    assert (resources.files("qrt") / "py.typed").is_file()


def test_every_public_call_is_made() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    classes = [getattr(qrt, name) for name in ("Model", "Session", "Stream")]
    methods = {
        name
        for each in classes
        for name, value in inspect.getmembers(each, inspect.isfunction)
        if not name.startswith("_")
    }
    errors = {name for name in qrt.__all__ if name.endswith("Error")}
    assert not [name for name in methods if f".{name}(" not in text]
    missing = {name for name in qrt.__all__ if f"qrt.{name}" not in text}
    assert missing - errors == {"__version__"}


def test_mypy_finds_nothing() -> None:
    run("-m", "mypy", str(PROGRAM))


def test_it_runs() -> None:
    run(str(PROGRAM))

"""The programs of examples/ run, on the embedded model, and say what they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "batch": ("import ast: [", "together"),
    "chat": ("Join two or more pathname components", "(53 tokens, 43 kept)"),
    "processor": ("'100000", "length", "stop"),
    "search": (
        "found shutil.rmtree",
        "Recursively delete a directory tree.",
        "found statistics.median",
    ),
    "stream": ("`json.dumps(obj, *, skipkeys=False", "These were close: [[", "tokens a second"),
    "tasks": ("`math.gcd(*integers)`: Greatest Common Divisor.", "cancelled"),
}


def test_each_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.iterdir() if path.suffix == ".py"} == SAYS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name: str) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert not [text for text in SAYS[name] if text not in done.stdout]

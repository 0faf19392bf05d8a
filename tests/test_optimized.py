"""`python -O` and `-OO`, which strip asserts and docstrings, change no answer and no refusal."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import optimized
import pytest

import qrt

ROOT = Path(__file__).parent.parent
LEVELS = {"-O": 1, "-OO": 2}
PURE = {
    *("all", "any", "isinstance", "len", "list", "range", "set", "sorted"),
    *("chain", "pages_for", "values"),
}
"""What an assert may call."""


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def facts() -> dict[str, object]:
    return json.loads(json.dumps(optimized.facts()))


def test_what_is_refused_is_an_error_of_qrt(facts):
    errors = {name for name in qrt.__all__ if name.endswith("Error")}
    assert {name: e for name, e in facts["refused"].items() if e not in errors} == {}
    assert facts["as the reference"]


@pytest.mark.parametrize("flag", LEVELS)
def test_a_model_answers_and_refuses_the_same(flag, facts):
    done = run(flag, Path(optimized.__file__))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"level": LEVELS[flag], **facts}


def steady(text: str) -> str:
    """Without the free memory, which changes from one second to the next."""
    return re.sub(r'"free_bytes": \d+', "", text)


@pytest.mark.parametrize("flag", LEVELS)
@pytest.mark.parametrize(
    "command",
    [
        ("run", "hi", "--temp", "0", "-n", "8"),
        ("tokenize", "def main(self):"),
        ("info", "--json"),
        ("info", "none.gguf"),
        ("run", "hi", "--top-p", "7"),
        ("--version",),
    ],
    ids=" ".join,
)
def test_a_command_prints_the_same(flag, command):
    plain, stripped = (run(*flags, "-m", "qrt", *command) for flags in ((), (flag,)))
    assert (stripped.returncode, steady(stripped.stdout), stripped.stderr) == (
        plain.returncode,
        steady(plain.stdout),
        plain.stderr,
    )
    assert (plain.stderr == "") == (plain.returncode == 0)


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)


def test_no_assert_does_work():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.test)}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
        for part in ast.walk(node)
        if isinstance(part, ast.NamedExpr | ast.Await | ast.Yield)
        or (isinstance(part, ast.Call) and called(part) not in PURE)
    ]
    assert found == []

"""What the documents say exists: commands, make targets, paths."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from qrt.cli.app import app
from qrt.config import KNOBS

ROOT = Path(__file__).parent.parent
DOCS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SUPPORT.md")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every `qrt ...` of the documents, from its name on."""
    quoted = [code for doc in DOCS for code in re.findall(r"`(qrt [^`]+)`", read(doc))]
    lines = re.findall(r"^(?:.*\| |\.venv/bin/)?(qrt [^#\n]+)", read("README.md"), re.MULTILINE)
    return sorted({code.replace("[", "").replace("]", "").strip() for code in quoted + lines})


def test_the_readme_shows_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    if "--help" not in arguments:
        command.make_context(name, arguments)


def test_every_path_exists() -> None:
    """Paths count from the top or from the package; a module may stand without its suffix."""
    paths = {
        path
        for doc in DOCS
        for path in re.findall(r"[`(]([\w.-]+(?:/[\w.-]+)+|\w+\.md)[`)\s]", read(doc))
        if not re.search(r"NAME|FORMAT|^\.venv", path)
    }
    assert len(paths) > 20
    tops = (ROOT, ROOT / "src" / "qrt")
    assert not [
        path
        for path in sorted(paths)
        if not any((top / path).exists() or (top / f"{path}.py").exists() for top in tops)
    ]


def test_every_make_target_exists() -> None:
    targets = {t for doc in DOCS for t in re.findall(r"make (\w+)", read(doc))}
    makefile = read("Makefile")
    assert {"run", "test"} <= targets
    assert not [t for t in targets if f"\n{t}:" not in makefile]


def test_every_environment_variable_is_explained() -> None:
    assert set(re.findall(r"^\| `(QRT_\w+)`", read("README.md"), re.MULTILINE)) == {
        knob.variable for knob in KNOBS
    }


def test_every_module_says_what_it_is_for() -> None:
    package = ROOT / "src" / "qrt"
    assert not [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

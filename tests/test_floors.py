"""The house rules that a parser can check: imports go down, files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
MAX_LINES = 400

FLOORS = {
    **dict.fromkeys(("errors", "config", "cgroups", "free_memory", "places", "progress", "log"), 1),
    "formats": 2,
    **dict.fromkeys(("graph", "kernels"), 3),
    **dict.fromkeys(("arch", "text", "backends"), 4),
    **dict.fromkeys(
        (f"backends.{name}" for name in ("base", "reference", "cpu", "cuda", "metal")), 4
    ),
    "runtime": 5,
    "tools": 6,
    "hub": 6,
    "structure": 6,
    "replies": 6,
    "api": 7,
    **dict.fromkeys(("server", "compat"), 8),
    "cli": 9,
}
"""Every room by its floor. `qrt` itself, the public face, is part of api."""

SAME_FLOOR = {
    "config": {"errors", "cgroups"},
    "free_memory": {"cgroups"},
    "log": {"errors", "config"},
    "backends": {"backends.base", "backends.reference", "backends.cpu"},
    "backends.reference": {"backends.base"},
    "backends.cpu": {"backends.base"},
    "backends.cuda": {"backends.base"},
    "backends.metal": {"backends.base"},
}
"""Rooms that may import a neighbour."""

GRAPH_AND_KERNELS = {"backends.cpu"}
COMPILERS = {"numba": {"kernels"}, "llvmlite": {"kernels", "backends.cuda"}}
"""Rooms that may import a compiler."""


def module_name(path: Path, src: Path) -> str:
    parts = path.relative_to(src).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room of a module under qrt: `qrt.backends.cpu.plan` is in backends.cpu."""
    parts = module.split(".")[1:]
    if not parts or parts[0] == "__main__":
        return "api" if not parts else "cli"
    room = ".".join(parts[:2]) if parts[0] == "backends" else parts[0]
    return room if room in FLOORS else parts[0]


def imports_of(path: Path, src: Path) -> Iterator[str]:
    """Every module a file imports, at any depth; `from p import m` is p.m where m is a module."""
    name = module_name(path, src)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*up, *filter(None, [node.module])]) if node.level else node.module
            for alias in node.names:
                inner = src / Path(*base.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{base}.{alias.name}" if is_module else base


def offences(src: Path) -> list[str]:
    """Every break of the rules under `src`, one line each."""
    found: list[str] = []
    reach: dict[str, set[str]] = {}
    for path in sorted(src.rglob("*.py")):
        where = path.relative_to(src)
        room = room_of(module_name(path, src))
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        if n_lines > MAX_LINES:
            found.append(f"{where}: {n_lines} lines, at most {MAX_LINES}")
        if room not in FLOORS:
            found.append(f"{where}: the room {room} has no floor")
            continue
        for module in imports_of(path, src):
            top = module.split(".")[0]
            if top in COMPILERS and room not in COMPILERS[top]:
                found.append(f"{where}: imports {top}")
            if top != "qrt":
                continue
            other = room_of(module)
            reach.setdefault(room, set()).add(other)
            if FLOORS.get(other, 0) > FLOORS[room]:
                found.append(f"{where}: imports {module}, a floor up")
            elif (
                FLOORS.get(other) == FLOORS[room]
                and other != room
                and other not in SAME_FLOOR.get(room, set())
            ):
                found.append(f"{where}: imports {module}, a neighbour")
    found += [
        f"{room}: knows both graph and kernels"
        for room, others in reach.items()
        if {"graph", "kernels"} <= others and room not in GRAPH_AND_KERNELS
    ]
    return found


def test_the_house_stands() -> None:
    assert not offences(SRC)


@pytest.mark.parametrize(
    ("path", "code", "offence"),
    [
        ("formats/x.py", "from qrt.graph.op import Op", "a floor up"),
        ("formats/x.py", "def f():\n    import qrt.runtime", "a floor up"),
        ("formats/x.py", "from qrt import api", "a floor up"),
        ("formats/x.py", "from .. import graph", "a floor up"),
        ("formats/quants/x.py", "from ...kernels import jit", "a floor up"),
        ("arch/x.py", "from qrt.text import bpe", "a neighbour"),
        ("backends/cpu/x.py", "from qrt.backends.reference import prepare", "a neighbour"),
        ("graph/x.py", "import qrt.kernels", "a neighbour"),
        ("runtime/x.py", "from numba import njit", "imports numba"),
        ("backends/cpu/x.py", "import llvmlite.binding", "imports llvmlite"),
        ("runtime/x.py", "import qrt.graph, qrt.kernels", "knows both"),
        ("attic/x.py", "", "has no floor"),
        ("arch/x.py", "x = 1\n" * (MAX_LINES + 1), "lines, at most"),
    ],
)
def test_every_break_is_seen(tmp_path: Path, path: str, code: str, offence: str) -> None:
    for room in ("api", "graph", "kernels", "formats", "runtime", "text", "backends/reference"):
        (tmp_path / "qrt" / room).mkdir(parents=True, exist_ok=True)
    file = tmp_path / "qrt" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    assert len(offences(tmp_path)) == 1
    assert offence in offences(tmp_path)[0]


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    file = tmp_path / "qrt" / "backends" / "cpu" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "from qrt.graph.op import Op\nimport qrt.kernels.tape\nfrom ..base import Settings\n"
        "from qrt.formats import open_gguf\nfrom . import plan\n"
    )
    assert not offences(tmp_path)

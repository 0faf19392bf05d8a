"""The library's English: documentation, docstrings, comments and the texts of `help`."""

from __future__ import annotations

import ast
import io
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from asked import TABLE, TASKS
from facts import SKIPPED
from passages import Passage

NOT_READ = (SKIPPED | {"site-packages", "dist-packages", "tests", "__pycache__"}) - {"tkinter"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> Iterator[str]:
    """The source of the library's modules."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if NOT_READ.isdisjoint(parts) and not parts[0].startswith(("config-", "_sysconfigdata")):
            yield path.read_text(encoding="utf-8", errors="ignore")


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module and of all that is in it, each behind the name it belongs to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (doc := ast.get_docstring(node)):
            yield f"{getattr(node, 'name', '')} {doc}"


def comments(source: str) -> Iterator[str]:
    """The comments of a module; those on lines that follow each other are one text."""
    kept: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] > last + 1 and kept:
                yield " ".join(kept)
                kept = []
            kept.append(token.string.lstrip("#!: "))
            last = token.start[0]
    yield " ".join(kept)


def texts(passages: list[Passage]) -> list[str]:
    """All of it, and the phrases that this folder adds."""
    found = [one.text for one in passages]
    for source in sources():
        found += docstrings(source)
        found += comments(source)
    for text in import_module("pydoc_data.topics").topics.values():
        found += re.split(r"\n\n+", text)
    return [text for text in found if text.strip()]


def own_phrases() -> list[str]:
    """The lines of tasks.toml, and those of words.toml that have words of like meaning."""
    lines = TASKS.read_text(encoding="utf-8") + TABLE["same"]
    return [line for line in lines.splitlines() if line and not line.startswith("#")]

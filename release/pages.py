"""A hook of mkdocs: pages made when the site is built, and links between files and pages.

The README is the first page and other documents of the top are pages too; the page of commands is
what each command's `--help` prints, that of Python has the docstring of every public name. A link
to a file that is no page becomes plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import qrt
from qrt.cli.app import app
from qrt.cli.chat.commands import COMMANDS
from qrt.cli.llama_cpp import LLAMA_CPP, Row

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "SUPPORT.md": "support.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents of the top and the pages that they become."""

PYTHON_PAGE, COMMANDS_PAGE = "reference/python.md", "reference/commands.md"
WIDTH = 88


OPTIONS = "qrt.runtime.options.GenerateOptions"
"""Where the keywords of generations are explained; not a public name."""

FOREIGN = """Those of ours that have llama.cpp's name and meaning stand above. Of the others
`qrt run` knows these; `qrt complete`, `bench`, `perplexity` and `kl` treat theirs alike."""

ONLY_DOCSTRING = ("    options:", "      members: []", "      show_root_heading: false\n")


def names_page() -> str:
    """A directive of mkdocstrings for every public name, errors last."""
    names = [name for name in qrt.__all__ if not name.startswith("__")]
    errors = [name for name in names if name.endswith("Error")]
    others = sorted({*names} - {*errors}, key=lambda name: (name[0].isupper(), name))
    parts = ["# Python\n", *(f"::: qrt.{name}" for name in others), f"::: {OPTIONS}"]
    parts += ["## Errors\n", "::: qrt.errors", *ONLY_DOCSTRING]
    parts += [f"::: qrt.{name}" for name in errors]
    return "\n".join([*parts, ""])


def help_of(*command: str) -> str:
    """What `qrt COMMAND --help` prints."""
    plain = {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    arguments = [sys.executable, "-m", "qrt", *command, "--help"]
    done = subprocess.run(arguments, env=plain, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def code(words: str) -> str:
    """Words apart, each as code."""
    return " ".join(f"`{word}`" for word in words.split())


def meaning(row: Row) -> str:
    """What flags of llama.cpp are here, as a cell of a table."""
    ours = [
        code(" ".join(words).format("VALUE"))
        for words in (row.ours, *row.by_value.values())
        if words
    ]
    if row.good is None:
        return row.instead
    taken = " or ".join(dict.fromkeys(ours)) or "taken, and changes nothing"
    return f"{taken}; of other values: {row.instead}" if row.instead else taken


def commands_page() -> str:
    """The help of every command in the order of `qrt --help`; commands of a chat, foreign flags."""
    names = typer.main.get_command(app).commands
    parts = ["# Commands", f"```text\n{help_of()}\n```"]
    parts += [f"## qrt {name}\n\n```text\n{help_of(name)}\n```" for name in names]
    rows = [f"| `{', '.join(c.names)} {c.arguments}` | {c.help} |" for c in COMMANDS]
    parts += ["## In a chat", "\n".join(["| command | does |", "|---|---|", *rows])]
    known = [entry for rows in LLAMA_CPP["run"] for entry in rows.items()]
    rows = [f"| {code(flags)} | {meaning(row)} |" for flags, row in known]
    parts += ["## Flags of llama.cpp", FOREIGN, "\n".join(["| flags | here |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that no file of `docs` is."""
    for document, page in PAGES.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, PYTHON_PAGE, content=names_page()))
    files.append(File.generated(config, COMMANDS_PAGE, content=commands_page()))
    return files


def linked(text: str, document: str, pages: dict[str, str]) -> str:
    """`text` of a document with its links to documents as links to pages.

    `pages` has the page of each document; both are paths with slashes, from the top and from the
    site's first page.
    """
    here = posixpath.dirname(pages[document])

    def link(match: re.Match[str]) -> str:
        mark, label, target, anchor = match.groups()
        if "://" in target or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
        if path not in pages:
            return label
        return f"{mark}[{label}]({posixpath.relpath(pages[path], here or '.')}{anchor or ''})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)", link, text)


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Links of a page."""
    own = {page: document for document, page in PAGES.items()}
    pages = {own.get(uri, f"docs/{uri}"): uri for uri in files.src_uris}
    return linked(markdown, own.get(page.file.src_uri, f"docs/{page.file.src_uri}"), pages)

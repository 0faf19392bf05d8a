"""What the documents say exists: commands, make targets, paths, links, names, numbers."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import length_picture
import pytest
import speed
import typer

from qrt.cli.app import app
from qrt.config import KNOBS

ROOT = Path(__file__).parent.parent
SITE = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
DOCS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SUPPORT.md", "CHANGELOG.md", *SITE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every `qrt ...` of the documents, from its name on."""
    quoted = [code for doc in DOCS for code in re.findall(r"`(qrt [^`]+)`", read(doc))]
    start = r"^(?:.*\| |\.venv/bin/|\$ )?(qrt [^#\n]+)"
    blocks = [
        b for doc in DOCS for b in re.findall(r"```(?:sh|text)\n(.*?)```", read(doc), re.DOTALL)
    ]
    lines = [line for block in blocks for line in re.findall(start, block, re.MULTILINE)]
    return sorted({code.replace("[", "").replace("]", "").strip() for code in quoted + lines})


def test_the_readme_shows_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    if arguments and "--help" not in arguments:
        command.make_context(name, arguments)


def test_every_path_exists() -> None:
    """Paths count from the top or from the package; a module may stand without its suffix."""
    paths = {
        path
        for doc in DOCS
        for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)+|\w+\.md)`", read(doc))
        if not re.search(r"NAME|FORMAT|^(OUT|OWNER|build|\.venv|\./dir)", path)
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
    table = read("docs/guide/tuning.md")
    assert set(re.findall(r"^\| `(QRT_\w+)`", table, re.MULTILINE)) == {
        knob.variable for knob in KNOBS
    }


def test_every_module_says_what_it_is_for() -> None:
    package = ROOT / "src" / "qrt"
    assert not [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]


def anchors(text: str) -> set[str]:
    """What the headings of a document are called in links."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("doc", DOCS)
def test_every_link_leads_somewhere(doc: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", read(doc), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if "://" in target:
            continue
        path = (ROOT / doc).parent / target if target else ROOT / doc
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), anchor


def test_every_page_has_its_place_in_the_site() -> None:
    pages = set(re.findall(r": ([\w/-]+\.md)$", read("mkdocs.yml"), re.MULTILINE))
    made = {"index.md", "support.md", "architecture.md", "contributing.md", "changelog.md"}
    made |= {"reference/python.md", "reference/commands.md"}
    assert pages == {page.removeprefix("docs/") for page in SITE} | made


def test_the_picture_of_the_speed_shows_its_table() -> None:
    rows = speed.ratios(speed.TABLE.read_text(encoding="utf-8"))
    assert len(rows) >= 8
    assert all(len(tests) == len(speed.TESTS) for tests in rows.values())
    assert speed.PICTURE.read_text(encoding="utf-8") == speed.draw(rows)


def test_the_picture_of_long_prompts_shows_its_table() -> None:
    found = length_picture.costs(length_picture.PAGE.read_text(encoding="utf-8"))
    assert len(found) >= 2
    assert all(min(by_length) == 512 and by_length[512] == 1 for by_length in found.values())
    assert length_picture.PICTURE.read_text(encoding="utf-8") == length_picture.draw(found)


def test_every_picture_is_whole_and_shown() -> None:
    shown = {Path(path).name for doc in DOCS for path in re.findall(r"!\[.+\]\((.+)\)", read(doc))}
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert {path.name for path in pictures} == shown
    for path in pictures:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size < 150_000
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("}svg")


def test_the_readme_has_the_numbers_of_the_table() -> None:
    rows = speed.ratios(speed.TABLE.read_text(encoding="utf-8"))
    row = r"^\| (\w+) \| \*\*([\d.]+) x\*\* \| \*\*([\d.]+) x\*\* \|"
    shown = re.findall(row, read("README.md"), re.MULTILINE)
    assert len(shown) >= 5
    assert all(rows[name] == {"pp512": float(p), "tg32": float(a)} for name, p, a in shown)

"""Tables of the `qrt` command: whole in a pipe, and as wide as the terminal that shows them."""

from __future__ import annotations

import re
import sys

import pytest
from hub_server import invoke
from screen import Screen

import qrt
from qrt.cli.arguments import model_file
from qrt.cli.tables import Column, MarkdownTable, fitting

LONG = "models--" + "some-owner--" + "a-very-long-name-of-a-model" * 2 + "-GGUF"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Compiles what is missing now: a command would tell of it on standard error."""
    qrt.load().close()


@pytest.fixture
def models(tmp_path):
    """A Hugging Face cache with one model of a long name."""
    folder = tmp_path / "hub" / LONG / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / "model-Q8_0.gguf").symlink_to(model_file(None))
    return {"HF_HOME": str(tmp_path)}


def shown(command, **env):
    """(exit code, lines) of a command in a terminal."""
    screen = Screen(sys.executable, "-m", "qrt", *command.split(), **env)
    code = screen.exit_code()
    text = re.sub(r"[^\n]*\r\x1b\[K", "", screen.text.replace("\r\n", "\n"))  # progress is gone
    return code, text.splitlines()


@needs_pty
@pytest.mark.parametrize("n_columns", [60, 80])
@pytest.mark.parametrize(
    "command",
    ["list --all", f"show {LONG[8:].replace('--', '/')}", "info", "doctor", "profile -p 8 -n 1"],
)
def test_a_table_is_as_wide_as_its_terminal(command, n_columns, models):
    code, lines = shown(command, n_columns=n_columns, **models)
    widths = [len(ESCAPES.sub("", line)) for line in lines]
    assert code == 0
    assert max(widths) <= n_columns
    assert len(lines) >= 3


@needs_pty
def test_what_a_narrow_table_leaves_out_goes_by_importance(models):
    _, lines = shown("list --all", n_columns=200, COLUMNS="50", **models)
    (line,) = (line for line in lines if "qwen3:30b" in line)
    assert line.split()[:3] == ["qwen3:30b", "18.7", "19.3"]
    assert "30.5B" not in line
    _, lines = shown("bench -p 8 -n 0 -r 1", **models)
    assert any(line.startswith("llama 11M Q8_0, 11.17 MiB, 11.01M, CPU") for line in lines)
    assert "| threads |           test |                t/s |   GB/s | % of read |" in lines
    assert lines[-1].startswith("left out: read GB/s; a pipe")
    _, lines = shown("profile -p 8 -n 0", **models)
    assert "pp8:" in lines
    piped = invoke("profile", "-p", "8", "-n", "0").stdout
    assert "| step            | op         | name            | kernel " in piped
    assert "left out" not in piped


@needs_pty
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_plain_terminal_gets_plain_text(env, models):
    _, lines = shown("list", **env, **models)
    assert lines[0] == "Models on this machine"
    assert "\x1b" not in "".join(lines)


def test_columns_that_fit():
    assert fitting([10, 10, 10], (2, 0), None) == [0, 1, 2]
    assert fitting([10, 10, 10], (2, 0), 30) == [0, 1, 2]
    assert fitting([10, 10, 10], (2, 0), 29) == [0, 1]
    assert fitting([10, 10, 10], (2, 0), 5) == [1]


def test_a_markdown_table_in_a_narrow_window(monkeypatch):
    monkeypatch.setattr("qrt.cli.tables.terminal_width", lambda _: 24)
    columns = [
        Column("where", 8, lambda _: "here", right=False, same=True),
        Column("what", 8, str, right=False),
        Column("half", 8, lambda x: str(x / 2)),
    ]
    table = MarkdownTable(columns, ("where",))
    assert [*table.head(8), table.row(8), *table.foot()] == [
        "here",
        "| what     |     half |",
        "| -------- | -------: |",
        "| 8        |      4.0 |",
    ]

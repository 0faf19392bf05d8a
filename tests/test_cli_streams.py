"""The standard streams of the `qrt` command, full or closed, and errors too long to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qrt
from qrt.cli.guard import print_error

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")

COMMANDS = (
    *("--version", "--help", "run --help", "info", "info --json", "list", "list --json"),
    *("tokenize hi", "run hi -n 2", "complete -p hi -n 2", "bench -p 8 -n 0 -r 1 -o json"),
    "doctor --json",
)
FULL = "error: reading or writing failed: No space left on device\n"


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Compiles what is missing now: a command would tell of it on standard error."""
    qrt.load().close()
    assert run("", "bench -p 8 -n 0 -r 1")[0] == 0


def environment(unbuffered=""):
    return {**os.environ, "PYTHONUNBUFFERED": unbuffered}


def run(redirected, command, **env):
    """(exit code, standard output, standard error) of a command whose streams are redirected."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m qrt {command} {redirected}', sys.executable],
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    # what is free changes from one second to the next
    answer = re.sub(r"(?<=free memory).*", "", done.stdout)
    return done.returncode, answer, done.stderr


@needs_full
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_an_exit_code(command):
    assert run(">/dev/full", command) == (3, "", FULL)


@needs_full
@pytest.mark.parametrize("command", ["--version", "info --json", "run hi -n 2"])
def test_a_full_disk_without_a_buffer_is_the_same(command):
    assert run(">/dev/full", command, unbuffered="1") == (3, "", FULL)


@needs_full
def test_an_error_that_cannot_be_shown_keeps_its_exit_code():
    assert run("2>/dev/full", "info none.gguf") == (3, "", "")
    assert run("2>/dev/full", "run ''") == (2, "", "")


@needs_shell
@pytest.mark.parametrize("command", ["run hi --seed 1 -n 4", "info", "--version"])
def test_closed_streams_are_no_error(command):
    code, answer, errors = run("", command)
    assert (code, errors) == (0, "")
    assert answer
    assert run(">&-", command) == (0, "", "")
    assert run("2>&-", command) == (0, answer, "")
    assert run("<&-", command) == (0, answer, "")
    assert run("<&- >&- 2>&-", command) == (0, "", "")


@pytest.mark.parametrize("command", ["info", "list", "tokenize hi", "--version"])
def test_a_pipe_that_nobody_reads_is_no_error(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "qrt", *command.split()],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@needs_shell
def test_a_prompt_from_a_closed_stream_is_empty():
    code, answer, errors = run("<&-", "complete")
    assert (code, answer) == (2, "")
    assert errors.startswith("error: the prompt is empty")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("first\nsecond\r\nthird\u2028fourth", "first second third fourth"),
        ("start " + "x" * 2**20 + " end", "start " + "x" * 494 + " ... " + "x" * 496 + " end"),
    ],
)
def test_an_error_is_one_line_of_bounded_length(message, shown, capsys):
    print_error(message)
    assert capsys.readouterr().err == f"error: {shown}\n"

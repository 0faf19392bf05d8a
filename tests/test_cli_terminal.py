"""Answers at the other end: a terminal that draws, one that cannot, one without styles, a pipe."""

from __future__ import annotations

import re
import struct
import subprocess
import sys

import pytest
from screen import Screen
from terminal import SEQUENCE, Terminal
from test_cli_render import DOCUMENT, PRINTED, words

import qrt
from qrt.cli.output import note, say
from qrt.cli.render.cells import DIM, cells_of
from qrt.cli.render.screen import Window
from qrt.cli.render.thoughts import lines_of_thoughts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")

WRITE = """
import sys
from qrt.cli.output import AnswerWriter, Shown
from qrt.replies import plain_reader

text, *shown = sys.argv[1:]
shown = Shown(**dict.fromkeys(shown, True))
writer = AnswerWriter(sys.stdout, plain_reader(), shown)
for i in range(0, len(text), 3):
    writer.write(text[i : i + 3])
writer.end()
"""
WRITE_WHILE_RESIZED = """
import signal, sys
from qrt.cli.output import AnswerWriter

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
writer = AnswerWriter(sys.stdout)
writer.write("one two three four five six seven eight nine ten")
signal.sigwait({signal.SIGWINCH})
for _ in range(30):
    writer.write(" eleven twelve")
writer.end()
"""
THOUGHT = "<think>\nIs it so?\n</think>\n\nIt *is*.\n"
ANSWER = ("run", "What does pathlib do?", "--temp", "0", "-n", "60", "--ignore-eos")
UNSET = {"NO_COLOR": "", "CLICOLOR": ""}


def written(text, *shown, width=60, **env):
    """What a terminal is sent for a text in pieces."""
    screen = Screen(sys.executable, "-c", WRITE, text, *shown, n_columns=width, **(UNSET | env))
    assert screen.exit_code() == 0, screen.text
    return screen.text


def piped(text, *shown):
    done = subprocess.run(
        [sys.executable, "-c", WRITE, text, *shown], capture_output=True, check=True, timeout=60
    )
    return done.stdout.decode()


def on_screen(sent, width=60):
    return Terminal(width, 24).feed(sent).text


@pytest.mark.parametrize("width", [20, 60, 120])
def test_a_terminal_shows_markdown(width):
    text = on_screen(written(DOCUMENT, width=width), width)
    assert text == PRINTED + "\n" or width != 60
    assert words(text.partition("日")[0]) == words(PRINTED.partition("日")[0])


@pytest.mark.parametrize("width", [30, 90])
def test_a_terminal_that_changes_its_width(width):
    import fcntl
    import termios

    screen = Screen(sys.executable, "-c", WRITE_WHILE_RESIZED, n_columns=60, **UNSET)
    screen.wait_for("nine ten")
    fcntl.ioctl(screen.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    assert screen.exit_code() == 0
    rows = screen.text.strip().split("\r\n")
    assert " ".join(rows).split() == ["eleven", "twelve"] * 30
    assert width - 7 < max(map(len, rows)) <= width


def test_the_raw_text_is_kept_byte_for_byte():
    text = f"{THOUGHT}{DOCUMENT}\x1b[2J\x07 \x9b1m"
    assert piped(text) == f"{text}\n"
    assert piped(text, "plain") == f"{text}\n"
    for env, shown in (({"TERM": "dumb"}, ()), ({"TERM": "xterm"}, ("plain",))):
        sent = written(text, *shown, **env).replace("\r\n", "\n")
        assert sent == f"{THOUGHT}{DOCUMENT}[2J 1m\n"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"CLICOLOR": "0"}])
def test_without_colours_words_are_wrapped_and_marks_stay(env):
    sent = written(THOUGHT + DOCUMENT, **env)
    assert "\x1b" not in sent
    text = on_screen(sent)
    assert re.sub(r"\s", "", text) == re.sub(r"\s", "", THOUGHT + DOCUMENT)
    assert "wrapped in a window of\n  sixty" in text


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "`\x1b]0;x\x07`", "```\n\x1b[31m\n```", "\x9b2J|\x1b|"]
)
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_model_cannot_send_commands(text, env):
    sent = written(text, **env)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]", sent)
    assert not re.search(r"\x1b(?!\[)", sent)
    left = SEQUENCE.sub(lambda found: found[2] or "", sent)
    assert "\x1b" not in left
    assert {s[1] for s in SEQUENCE.finditer(sent) if s[1]} <= {"0m", "1m", "2m", "36m", "J"} | {
        f"?2026{c}" for c in "hl"
    }


def test_thoughts_are_dim_or_folded_or_gone():
    sent = written(THOUGHT)
    assert on_screen(sent) == "Is it so?\n\nIt is.\n\n"
    rows = Terminal(60).feed(sent).rows
    assert {style for _, style in rows[0]} == {"2"}
    assert rows[2][3] == ("i", "3")
    assert on_screen(written(THOUGHT, "hide_think")) == "(thought for 0 s)\n\nIt is.\n\n"
    lines = lines_of_thoughts(has_styles=True, is_folded=True)
    lines.push("a")
    assert lines.rows(Window(60, 24)) == ([], [tuple(cells_of("thinking ...", DIM))])
    assert piped(THOUGHT, "hide_think") == "It *is*.\n"
    assert on_screen(written("<think>\n\n</think>\n\nYes", "hide_think")) == "Yes\n\n"
    folded = written(THOUGHT, "hide_think", NO_COLOR="1")
    assert (on_screen(folded), "\x1b" in folded) == ("(thought for 0 s)\n\nIt *is*.\n\n", False)


@pytest.fixture(scope="module")
def answer():
    qrt.load().close()  # compiles what is missing, which a command would tell of
    command = [sys.executable, "-m", "qrt", *ANSWER]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()


@pytest.mark.parametrize("width", [20, 60, 120])
def test_qrt_run_in_a_terminal(answer, width):
    screen = Screen(sys.executable, "-m", "qrt", *ANSWER, n_columns=width, **UNSET)
    assert screen.exit_code() == 0
    sent = re.sub(r"\r\x1b\[K[^\r]*?(?=\r\x1b\[K)|\r\x1b\[K", "", screen.text)
    text = on_screen(sent, width)
    assert words(text) == words(answer)
    assert max(map(len, text.split("\n"))) <= width
    assert "first token" not in text
    assert on_screen(sent).count("\n") > 1 or width == 120


def test_timings_come_when_asked_for(answer):
    screen = Screen(sys.executable, "-m", "qrt", *ANSWER, "--timings", "--plain", **UNSET)
    assert screen.exit_code() == 0
    assert "first token" in screen.text
    assert answer.strip() in screen.text.replace("\r\n", "\n")


def test_a_switch_that_the_template_lacks_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "qrt", "run", "hi", "--no-think"], capture_output=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the chat template of ")
    assert done.stderr.count(b"\n") == 1


def test_without_colours_code_and_lists_keep_their_form():
    text = on_screen(written(DOCUMENT, NO_COLOR="1"))
    assert "```python\ndef f(x):\n" in text
    assert "whatever the width of the window, and can be copied\n```\n" in text
    assert "  1. nested, *also* with a text that is long enough to be\n     wrapped\n" in text


def test_notes_are_wrapped(monkeypatch, capsys):
    monkeypatch.setattr("qrt.cli.output.is_terminal", lambda _: True)
    monkeypatch.setattr("qrt.cli.output.window_of", lambda _: Window(20, 24))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    say(sys.stdout, "/undo  take the last question back", hang=7)
    note(sys.stdout, "a line that is longer than\nthe window")
    out = capsys.readouterr().out
    dim = [f"\x1b[2m{line}\x1b[0m" for line in ("a line that is", "longer than", "the window")]
    assert out.splitlines() == ["/undo  take the last", "       question back", *dim]

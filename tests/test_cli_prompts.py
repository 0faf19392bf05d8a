"""What flags of prompts and chat templates do, and what `qrt` says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from screen import Screen
from typer.testing import CliRunner

import qrt
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.text.templates import CHATML

COMMANDS = typer.main.get_command(app).commands
EMBEDDED = model_file(None)


def invoke(*args, piped=""):
    return CliRunner().invoke(app, [str(arg) for arg in args], input=piped)


GREEDY = ("-n", "6", "--temp", "0", "--ignore-eos")


@pytest.mark.parametrize("flags", [["--chat-template", "chatml"], ["--chat-template-file", "{}"]])
def test_a_chat_template_goes_before_that_of_the_file(flags, tmp_path):
    template = tmp_path / "chatml.jinja"
    template.write_text(CHATML)
    question = [{"role": "user", "content": "What does os.getcwd do?"}]
    with qrt.load(chat_template="chatml") as model, qrt.load() as usual:
        expected = model.chat(question, max_tokens=6, ignore_eos=True).text
        assert usual.chat(question, max_tokens=6, ignore_eos=True).text != expected
    given = [flag.format(template) for flag in flags]
    result = invoke("run", question[0]["content"], "--jinja", *given, *GREEDY)
    assert (result.exit_code, result.stdout) == (0, expected + "\n")


def test_variables_reach_the_template():
    template = ["--chat-template", "{{ messages[0].content }}{{ reasoning_effort }}"]
    plain = invoke("run", "import os.low", "--chat-template", "{{ messages[0].content }}", *GREEDY)
    for flags in (
        ["--chat-template-kwargs", '{"reasoning_effort": "low"}'],
        ["--reasoning-effort", "low"],
    ):
        given = invoke("run", "import os.", *template, *flags, *GREEDY)
        assert (given.exit_code, given.stdout) == (0, plain.stdout)


def test_marks_stand_around_what_a_user_says():
    template = "{{ messages[0].content }}<\nBEHIND é😀 {{ messages[1].content }}>\n#"
    flags = ["-sys", "import os", "--in-prefix", r"<\nBEHIND é😀 ", "--in-suffix", r">\n#"]
    expected = invoke("run", "os.path", "-sys", "import os", "--chat-template", template, *GREEDY)
    given = invoke("run", "os.path", *flags, *GREEDY)
    assert (given.exit_code, given.stdout) == (0, expected.stdout)


def test_locked_memory(monkeypatch):
    assert invoke("run", "hi", "-n", "1", "--mlock").exit_code == 0
    monkeypatch.setattr("qrt.cli.loading.lock_memory", lambda: "no; `ulimit -l` allows 8.00 MB")
    result = invoke("complete", "-p", "hi", "-n", "1", "--mlock")
    assert result.exit_code == 0
    assert result.stderr == "--mlock: memory is not locked: no; `ulimit -l` allows 8.00 MB\n"


def test_no_conversation_continues_the_text():
    text = invoke("complete", "-p", "import os", *GREEDY).stdout
    assert invoke("run", "-no-cnv", "-p", "import os", *GREEDY).stdout == text + "\n"
    assert invoke("run", "-p", "import os", *GREEDY).stdout != text + "\n"


def test_the_system_prompt_may_be_a_file(tmp_path):
    system = tmp_path / "system.txt"
    system.write_text("socket.create_connection(")
    answers = [
        invoke("run", "import os", *flags, *GREEDY).stdout
        for flags in (["-sysf", system], ["-sys", "socket.create_connection("], [])
    ]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--chat-template", "chatlm"], "chat_template must be Jinja, or one of chatml"),
        (["--chat-template", "chatml", "--chat-template-file", "x"], "given twice"),
        (["--chat-template", "chatml", "--in-prefix", "x"], "given twice"),
        (["--chat-template-file", "none.jinja"], "none.jinja: cannot be read"),
        (["--chat-template-kwargs", "[]"], "expected a JSON object"),
        (["--chat-template-kwargs", "{"], "expected a JSON object"),
        (["--chat-template-kwargs", '{"messages": 1}'], "qrt sets itself"),
        (["-sys", "a", "-sysf", "b"], "given twice"),
        (["-sysf", "none.txt"], "none.txt: cannot be read"),
    ],
)
def test_a_bad_template_or_system_prompt_is_told(flags, message):
    result = invoke("run", "hi", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


@needs_pty
def test_a_conversation_may_begin_with_the_prompt(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    screen = Screen(sys.executable, "-m", "qrt", "run", "What is os?", "-cnv", "-n", "4")
    screen.wait_for("/help for help")
    screen.wait_for("cut short")
    screen.wait_for(r"\?2004h")
    screen.type("/exit\r")
    assert screen.exit_code() == 0


@needs_pty
def test_a_single_turn_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    screen = Screen(sys.executable, "-m", "qrt", "run", "-st", "-n", "4")
    screen.wait_for(r"\?2004h")
    screen.type("What is os?\r")
    assert screen.exit_code() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="only sockets can be waited on")
def test_who_waits_for_a_pipe_is_told():
    command = [sys.executable, "-m", "qrt", "run", "hi", "-n", "1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as process:
        assert b"reading standard input to its end" in process.stderr.readline()
        assert process.poll() is None
        answer, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert answer


@pytest.mark.parametrize("args", [[], ["help"]])
def test_qrt_alone_says_how_to_begin(args):
    result = invoke(*args)
    assert (result.exit_code, result.stderr) == (0, "")
    for step in ("qrt run  ", "qrt pull qwen3:4b", "qrt run FILE.gguf", "qrt --help"):
        assert step in result.stdout


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_help_fits_80_columns_and_ends_with_examples(name):
    text = invoke(*name.split(), "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    if name not in ("", "help"):
        examples = text.partition("\nExamples:\n")[2].splitlines()
        assert examples
        for line in examples:
            command = line.partition("qrt ")[2]
            assert command.split()[0] == name
        assert invoke("help", name).stdout == text


def test_help_is_in_groups():
    text = invoke("run", "-h").stdout
    titles = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [
        *("Arguments:", "Model:", "Server:", "Prompt:", "Chat:", "Context:", "Output:", "Speed:"),
        *("Sampling:", "Options:", "Examples:"),
    ]

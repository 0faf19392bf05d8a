"""The commands of a chat: each by its effect, and which lines are none."""

from __future__ import annotations

import base64
import math
import os
from types import SimpleNamespace

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from talk import Talk

from qrt.cli.chat import clipboard
from qrt.cli.chat.commands import COMMANDS, NAMES, command_in
from qrt.cli.chat.completer import ChatCompleter
from qrt.cli.chat.embedded import is_unsure
from qrt.errors import InputError


def typed(*lines, answers=("Hello",), **options):
    """The talk of a person who types `lines`, and is answered `answers`."""
    talk = Talk(lines, [[answer] for answer in answers], **options)
    assert talk.chat.run() == 0
    return talk


@pytest.mark.parametrize("name", [*NAMES, "/HELP"])
def test_every_name_is_a_command(name):
    assert name.lower() in command_in(name).names
    assert command_in(f"{name} x") is command_in(name)


@pytest.mark.parametrize(
    "text",
    [
        *("/etc/hosts", "/etc/hosts is what?", "/usr", "/", "/1", "/a-b", "//exit", "/?x"),
        *("a /help", "/bogus\nand more lines"),
    ],
)
def test_a_line_that_only_looks_like_a_command_is_text(text):
    assert command_in(text) is None


@pytest.mark.parametrize(
    ("name", "near"), [("/sav", "/save"), ("/quti", "/quit"), ("/tmings", "/timings")]
)
def test_an_unknown_command_is_answered_with_the_nearest(name, near):
    with pytest.raises(InputError, match=f"no command {name}; did you mean {near}?"):
        command_in(name)


@pytest.mark.parametrize("name", ["/exit", "/bye", "/quit"])
def test_leaving(name):
    assert typed(name, "hi", answers=()).asked == []


@pytest.mark.parametrize("name", ["/help", "/?"])
def test_help_lists_every_name(name, capsys):
    typed(name)
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert all(name in out for name in command.names)
        assert command.help in out
    assert "qrt run --continue" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_system_prompt(capsys):
    talk = typed("/system Be kind.", "hi", "/clear")
    assert talk.asked == [["Be kind.", "hi"]]
    assert talk.turns == ["Be kind."]
    assert typed("/set system Be kind.", "/system default").turns == []
    assert "system prompt: (none)" in capsys.readouterr().out


def test_undo(capsys):
    talk = typed("/undo", "hi", "what?", "/undo", answers=("Hello", "No"))
    assert talk.turns == ["hi", "Hello"]
    out, err = capsys.readouterr()
    assert "taken back: what?" in out
    assert "nothing to take back" in err


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("/set temperature 0.3", {"temperature": 0.3}),
        ("/set temp 0.3", {"temperature": 0.3}),
        ("/set temperature=0.3", {"temperature": 0.3}),
        ("/set parameter top_k 5", {"top_k": 5}),
        ("/set top-k 5", {"top_k": 5}),
        ("/set --top-p  0.5", {"top_p": 0.5}),
        ("/set n 7", {"max_tokens": 7}),
        ("/set seed 3", {"seed": 3}),
        ("/set ignore_eos on", {"ignore_eos": True}),
        ("/set samplers top_k;temperature", {"samplers": ("top_k", "temperature")}),
        ("/set stop User:", {"stop": ("User:",)}),
        ("/set logit_bias 5=-1,6=2.5", {"logit_bias": {5: -1.0, 6: 2.5}}),
        ("/set min_p default", {}),
    ],
)
def test_set_changes_what_answers_are_asked_with(line, given):
    talk = typed(line, "hi", min_p=0.1)
    expected = given if line.endswith("default") else {"min_p": 0.1, **given}
    assert talk.fakes[0].asked[0][1] == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set tempp 1", "there is no option tempp; did you mean temp?"),
        ("/set temperature hot", "temperature must be a number, got 'hot'"),
        ("/set top_p 7", "top_p must be between 0 and 1"),
        ("/set top_k 1.5", "top_k must be a whole number, got '1.5'"),
        ("/set ignore_eos maybe", "ignore_eos must be on or off"),
        ("/set logit_bias 5", "as in 12=-5,13=2"),
        ("/set cancel 1", "there is no option cancel"),
        ("/set seed", "usage: /set seed VALUE"),
        ("/set context lots", "context must be a whole number"),
        ("/set parameter num_ctx lots", "context must be a whole number"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(line, message, capsys):
    talk = typed(line, "hi")
    assert talk.fakes[0].asked[0][1] == {}
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_set_and_show_tell_what_holds(capsys):
    typed("/set temp 0.3", "/show", "/set", seed=4, system="Be brief.")
    out = capsys.readouterr().out
    for part in ("fake.gguf", "1000 tokens", "2000", "Be brief."):
        assert part in out
    assert out.count("temperature") == out.count("0.3") == 3


def test_a_new_context_is_a_new_load_of_the_model(capsys):
    talk = typed("hi", "/set context 500", "more", answers=("Hello", "Yes"))
    assert [(fake.n_ctx, fake.is_closed) for fake in talk.fakes] == [(1000, True), (500, False)]
    assert talk.turns == ["hi", "Hello", "more", "Yes"]
    assert "the context holds 500 tokens" in capsys.readouterr().out


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(capsys):
    talk = typed("/set context 13", "hi")
    assert [fake.is_closed for fake in talk.fakes] == [True, False]
    assert talk.fakes[1].asked
    assert "n_ctx must not be 13" in capsys.readouterr().err


def test_load(tmp_path, capsys):
    model, saved, bad = (tmp_path / name for name in ("m.gguf", "chat.json", "bad.json"))
    model.touch()
    bad.write_text('[{"role": "assistant", "content": 1}]')
    talk = typed(
        *("hi", f"/save {saved}", "/clear", f"/load {bad}", f"/load {saved}", f"/load {model}"),
        *("more", "/load none.gguf", "/load"),
        answers=("Hello", "Yes"),
    )
    assert [fake.path for fake in talk.fakes] == ["fake.gguf", str(model)]
    assert talk.turns == ["hi", "Hello", "more", "Yes"]
    err = capsys.readouterr().err
    for message in ("bad.json: message 0", "none.gguf: no such file", "usage: /load MODEL"):
        assert message in err


def test_a_file_goes_with_the_next_question(tmp_path, capsys):
    notes, long, empty = (tmp_path / name for name in ("a b.txt", "long.txt", "empty.txt"))
    notes.write_text("one two\n")
    long.write_text("word " * 2000)
    empty.touch()
    talk = typed(
        *(f"/file {notes}", f"/file {notes}", "what?", "and?"),
        *(f"/file {long}", f"/file {empty}", "/file none.txt", "/file"),
        answers=("Yes", "No"),
    )
    assert talk.asked[0] == ["what?\n\none two\n\none two"]
    assert talk.asked[1][-1] == "and?"
    out, err = capsys.readouterr()
    assert "a b.txt: 2 tokens" in out
    for message in ("has 2000 tokens", "is empty", "none.txt: cannot be read", "usage: /file PATH"):
        assert message in err


def test_a_file_that_makes_the_question_too_long_is_let_go(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("word " * 40)
    talk = typed(f"/file {notes}", "what is " * 10, "hi", n_ctx=50)
    assert talk.asked == [["hi"]]
    assert talk.offered == ["", "", "what is " * 10, ""]
    assert "what /file put in is let go" in capsys.readouterr().err


def test_tokens_tell_what_fills_the_context(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("one two three")
    typed("what is it", f"/file {notes}", "/tokens", system="Be brief.", answers=("I know not",))
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-6:])
    assert {name.strip(): int(n) for name, n in rows.items()} == {
        "system prompt": 2,
        "questions": 3,
        "answers": 3,
        "format of the chat": 3,
        "files for the next question": 3,
        "free": 986,
    }


@pytest.mark.parametrize(
    ("text", "probability", "unsure"),
    [
        ("`math.sqrt(x)`: Return the square root.", 0.99, False),
        ("`math.sqtr(x)`: Return the square root.", 0.8, True),
        ("I only know Python's standard library, and I know no `x` in it.", 0.99, True),
    ],
)
def test_answers_that_the_embedded_model_is_unsure_of(text, probability, unsure):
    pieces = text.split()
    records = [SimpleNamespace(text=f" {p}", logprob=math.log(probability)) for p in pieces]
    assert is_unsure(records) is unsure


def test_timings_come_only_when_asked_for(capsys):
    typed("hi", answers=("Hello",))
    assert "tok/s" not in capsys.readouterr().err
    typed("/timings", "hi", "/timings", "more", answers=("Hello", "Yes"))
    assert capsys.readouterr().err.count("tok/s") == 2


@pytest.mark.skipif(os.name != "posix", reason="the tool is a shell script")
def test_copying(tmp_path, monkeypatch, capsys):
    tool, taken = tmp_path / "pbcopy", tmp_path / "taken"
    tool.write_text(f"#!/bin/sh\nexec cat > {taken}\n")
    tool.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin"
    assert clipboard.copy_text("hé\n", {"PATH": path}) == "copied by pbcopy"
    assert taken.read_bytes() == "hé\n".encode()
    tool.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(InputError, match="no clipboard tool"):
        clipboard.copy_text("a", {"PATH": str(tmp_path)})
    monkeypatch.setattr(clipboard, "is_terminal", lambda _: True)
    over_ssh = {"PATH": path, "SSH_CONNECTION": "here there"}
    assert "terminal" in clipboard.copy_text("hé", over_ssh)
    assert f"52;c;{base64.b64encode('hé'.encode()).decode()}\a" in capsys.readouterr().out
    monkeypatch.setattr("qrt.cli.chat.actions.copy_text", lambda text: f"taken: {text}")
    typed("/copy", "hi", "/copy")
    out, err = capsys.readouterr()
    assert "5 characters taken: Hello" in out
    assert "no answer yet" in err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/sa", ["/save"]),
        ("/set temp", ["temperature"]),
        ("/set con", ["context_shift", "context"]),
        ("/file note", ["s.txt"]),
        ("/load note", ["notes.gguf", "s.txt"]),
        ("hello /sa", []),
        ("/undo x", []),
        ("text\n/sa", []),
    ],
)
def test_tab_completes_commands_and_what_follows_them(text, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    monkeypatch.setattr("qrt.hub.shown.shown_names", lambda: {1: "notes.gguf", 2: "other"})
    completions = ChatCompleter(NAMES).get_completions(Document(text), CompleteEvent())
    assert [completion.text for completion in completions] == found

"""Chats that are kept: private files, continued with their turns and model, hostile or not."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest
from typer.testing import CliRunner

import qrt
from qrt import places
from qrt.cli.app import app
from qrt.cli.arguments import model_file
from qrt.cli.chat import kept, respondent
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.kept import Keeper, newest
from qrt.errors import InputError

TURNS = [{"role": "user", "content": "hé?"}, {"role": "assistant", "content": "ho"}]
GREEDY = ("--temp", "0", "-n", "8")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where sessions are kept."""
    monkeypatch.setattr(kept, "state_dir", lambda: tmp_path / "qrt")
    return tmp_path / "qrt" / "sessions"


def run(*args):
    return CliRunner().invoke(app, ["run", *map(str, args)])


def test_a_kept_chat_is_private_and_comes_back(folder):
    Keeper("one").write(Conversation("Be brief."), None)
    assert not folder.exists()  # nothing was said yet
    keeper = Keeper("one")
    keeper.write(Conversation("Be brief.", TURNS), "model.gguf")
    assert [path.name for path in folder.iterdir()] == ["one.json"]
    if os.name == "posix":
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "one.json")]
        assert modes == [0o700, 0o600]
    again = Keeper("one").kept
    assert again.conversation.everything == [{"role": "system", "content": "Be brief."}, *TURNS]
    assert again.model == os.path.abspath("model.gguf")
    keeper.write(Conversation(), None)
    assert Keeper("one").kept.conversation.everything == []


def test_the_newest_is_continued_and_the_oldest_unnamed_go(folder, monkeypatch):
    monkeypatch.setattr(kept, "_MOST_UNNAMED", 3)
    with pytest.raises(InputError, match="no chat yet to continue"):
        newest()
    names = []
    for i, name in enumerate(["mine", None, None, None, None]):
        keeper = Keeper(name)
        keeper.write(Conversation(None, TURNS), None)
        os.utime(folder / f"{keeper.name}.json", (i, i))
        names.append(keeper.name)
    (folder / "not one.json").touch()
    assert len(set(names)) == 5
    assert newest() == names[-1]
    there = {path.stem for path in folder.iterdir()}
    assert there == {"mine", "not one", *names[2:]}


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 65, "a\0"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(InputError, match="a session's name has"):
        Keeper(name)


HOSTILE = {
    "empty": b"",
    "binary": b"\xff\xfe\0",
    "text": b"hello",
    "nested": b"[" * 100_000,
    "list": b"[]",
    "no messages": b'{"model": null}',
    "messages are text": b'{"model": null, "messages": "hello"}',
    "a message is none": b'{"messages": [1]}',
    "an answer first": b'{"messages": [{"role": "assistant", "content": "x"}]}',
    "a tool": b'{"messages": [{"role": "tool", "content": "x"}]}',
    "content is a list": b'{"messages": [{"role": "user", "content": ["x"]}]}',
    "late system": json.dumps({"messages": [*TURNS, {"role": "system", "content": "x"}]}).encode(),
    "the model is a number": b'{"model": 5, "messages": []}',
    "the model has a zero": b'{"model": "a\\u0000b", "messages": []}',
    "the model is not there": b'{"model": "/none.gguf", "messages": []}',
    "a long number": b'{"model": ' + b"9" * 10_000 + b', "messages": []}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_session_is_one_line(name, folder):
    folder.mkdir(parents=True)
    (folder / "bad.json").write_bytes(HOSTILE[name])
    result = run("hi", "--session", "bad")
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert isinstance(result.exception, SystemExit)
    if name in ("nested", "list", "the model is a number"):
        assert "take the file away to begin anew" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="has no pipes in folders")
def test_what_is_no_file_is_refused(folder):
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    (folder / "nowhere.json").symlink_to("none")
    for name in ("pipe", "folder", "nowhere"):
        with pytest.raises(InputError, match=f"{name}.json: (is not a file|cannot be read)"):
            Keeper(name)


def test_without_a_home_there_are_no_sessions(monkeypatch):
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(kept, "state_dir", places.state_dir)
    keeper = Keeper()
    assert not keeper.is_kept
    with pytest.raises(InputError, match="set HOME"):
        keeper.write(Conversation(None, TURNS), None)
    assert "set HOME" in run("hi", "--session", "mine").stderr


def test_half_characters_and_controls_of_a_session_are_harmless(folder):
    folder.mkdir(parents=True)
    messages = [{"role": role, "content": "\ud800 \x1b[2J"} for role in ("user", "assistant")]
    (folder / "odd.json").write_text(json.dumps({"messages": messages}))
    result = run("What does os.path.join do?", "--session", "odd", *GREEDY)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_question_goes_on_with_a_session():
    first, second = "What does os.path.join do?", "And math.sqrt?"
    assert run(first, "--session", "py", *GREEDY).exit_code == 0
    answer = Keeper("py").kept.conversation.last_answer
    result = run(model_file(None), second, "--continue", *GREEDY)
    assert (result.exit_code, result.stderr) == (0, "")
    told = Keeper("py").kept
    assert [m["content"] for m in told.conversation.everything[:3]] == [first, answer, second]
    assert told.model == os.path.abspath(model_file(None))
    with qrt.load() as model:
        fresh = model.chat(told.conversation.everything[:3], temperature=0, max_tokens=8)
    assert told.conversation.last_answer == fresh.text == result.stdout.rstrip("\n")
    assert "give one" in run("hi", "--continue", "--session", "py").stderr


@pytest.mark.parametrize("damage", [None, b"", b"qrt state 1 and so on"])
def test_what_takes_long_to_compute_again_is_stored(damage, folder, monkeypatch):
    monkeypatch.setattr(respondent, "_WORTH_S", 0.0)
    assert run("What does os.path.join do?", "--session", "py", *GREEDY).exit_code == 0
    state = folder / "py.state"
    assert os.name != "posix" or stat.S_IMODE(state.stat().st_mode) == 0o600
    if damage is not None:
        state.write_bytes(damage)
    second = run("And math.sqrt?", "--continue", "--timings", *GREEDY)
    messages = Keeper("py").kept.conversation.everything
    with qrt.load() as model:
        fresh = model.chat(messages[:3], temperature=0, max_tokens=8)
    assert second.stdout == fresh.text.rstrip("\n") + "\n"
    n_computed = int(re.search(r"prompt (\d+) tokens", second.stderr)[1])
    assert (n_computed < fresh.n_prompt_tokens / 2) is (damage is None)


def test_what_takes_a_moment_to_compute_again_is_not_stored(folder):
    assert run("What does os.path.join do?", "--session", "py", *GREEDY).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["py.json"]


def test_of_chats_without_a_name_one_state_is_kept(folder):
    keepers = []
    for _ in range(3):
        keepers.append(Keeper())
        keepers[-1].write(Conversation(None, TURNS), None)
        keepers[-1].state.touch()
    (folder / "mine.state").touch()
    keepers[0].tidy()
    assert {path.name for path in folder.glob("*.state")} == {"mine.state", keepers[0].state.name}

"""The interactive chat: what it keeps, what it forgets, and Ctrl-C in a real terminal."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from screen import Screen

from qrt.api import Timings
from qrt.cli.chat.commands import NAMES
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import is_open, message_of
from qrt.cli.chat.loop import Chat
from qrt.cli.chat.settings import Settings
from qrt.cli.flags import LoadFlags
from qrt.errors import InputError, TemplateError

TIMINGS = Timings(5, 0, 2, 0.1, 50.0, 20.0, 1.0)


class Answer:
    """A stream that says its words; one that is an exception is raised."""

    def __init__(self, words):
        self.words, self.timings = words, TIMINGS

    def __iter__(self):
        for word in self.words:
            if not isinstance(word, str):
                raise word
            yield SimpleNamespace(text=word, finish_reason=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Fake:
    """A model that says `answers`, and remembers what it was asked."""

    def __init__(self, answers=(), path="fake.gguf", n_ctx=1000):
        self.path, self.load, self.n_ctx, self.title = path, LoadFlags(), n_ctx, f"fake {path}"
        self.model = SimpleNamespace(
            info=SimpleNamespace(
                **dict.fromkeys(("name", "arch"), "fake"),
                path=path,
                n_ctx=n_ctx,
                n_ctx_train=2 * n_ctx,
                sampling={},
            )
        )
        self.answers = iter(answers)
        self.asked, self.is_closed = [], False

    def tokens(self, messages):
        self._messages = messages
        return [0] * sum(len(m["content"].split()) + 1 for m in messages)

    def count(self, text):
        return len(text.split())

    def stream(self, prompt, keywords):
        assert len(prompt) == len(self.tokens(self._messages))
        self.asked.append((self._messages, keywords))
        return Answer(next(self.answers))

    def close(self):
        self.is_closed = True


class Talk:
    """A chat whose person types `lines` and whose model says `answers`."""

    def __init__(self, lines, answers=(), *, system=None, n_ctx=1000, **given):
        self.lines, self.offered, self.kept = iter(lines), [], []
        self.fakes = [Fake(answers, n_ctx=n_ctx)]
        self.chat = Chat(
            self.fakes[0],
            self.read,
            open_model=self.open,
            keep=lambda chat: self.kept.append(chat.conversation.everything),
            conversation=Conversation(system),
            settings=Settings(given),
        )

    def open(self, path, load):
        if load.n_ctx == 13:
            raise InputError("n_ctx must not be 13")
        self.fakes.append(Fake(self.fakes[0].answers, path, load.n_ctx or 1000))
        return self.fakes[-1]

    def read(self, start):
        self.offered.append(start)
        line = next(self.lines, EOFError())
        if isinstance(line, str):
            return line
        raise line

    @property
    def asked(self):
        return [[m["content"] for m in messages] for messages, _ in self.fakes[0].asked]

    @property
    def turns(self):
        return [m["content"] for m in self.chat.conversation.messages]


def test_turns_are_kept_and_sent_whole():
    talk = Talk(["hi", "more", "/exit"], [["Hel", "lo"], ["Yes"]], system="Be brief.")
    assert talk.chat.run() == 0
    assert talk.turns == ["Be brief.", "hi", "Hello", "more", "Yes"]
    roles = [m["role"] for m in talk.fakes[0].asked[1][0]]
    assert roles == ["system", "user", "assistant", "user"]
    assert talk.kept[1] == talk.chat.conversation.everything


@pytest.mark.parametrize("error", [InputError("no"), TemplateError("no"), KeyboardInterrupt()])
def test_after_an_error_the_line_is_empty_and_nothing_is_lost(error):
    talk = Talk(["hi", "what?", "bye"], [["Hello"], [error], ["Bye"]])
    assert talk.chat.run() == 0
    assert talk.turns == ["hi", "Hello", "bye", "Bye"]
    assert talk.offered == ["", "", "", ""]


def test_a_message_that_is_too_long_is_refused_and_kept_for_editing(capsys):
    long = "word " * 60
    talk = Talk(["hi", long, "bye"], [["Hello"], ["Bye"]], n_ctx=50)
    assert talk.chat.run() == 0
    assert talk.turns == ["hi", "Hello", "bye", "Bye"]
    assert talk.offered == ["", "", long, ""]
    assert "the prompt has 61 tokens, the context holds 50" in capsys.readouterr().err


def test_what_came_before_ctrl_c_is_kept():
    talk = Talk(["hi", "more"], [["Once ", "upon", KeyboardInterrupt()], ["Yes"]])
    assert talk.chat.run() == 0
    assert talk.turns == ["hi", "Once upon", "more", "Yes"]


def test_a_second_ctrl_c_leaves():
    assert Talk([KeyboardInterrupt(), KeyboardInterrupt(), "x"], []).chat.run() == 130
    talk = Talk(["hi", KeyboardInterrupt(), "x"], [["a", KeyboardInterrupt()]])
    assert talk.chat.run() == 130
    talk = Talk([KeyboardInterrupt(), "hi", KeyboardInterrupt(), "/exit"], [["a"]])
    assert talk.chat.run() == 0


def test_regen_answers_the_last_question_again():
    talk = Talk(["hi", "/regen", "/retry"], [["One"], ["Two"], ["Three"]], seed=5)
    talk.chat.run()
    assert talk.turns == ["hi", "Three"]
    assert [keywords["seed"] for _, keywords in talk.fakes[0].asked] == [5, 6, 7]


def test_regen_that_fails_keeps_the_answer_before(capsys):
    talk = Talk(["/regen", "hi", "/regen"], [["One"], [KeyboardInterrupt()]])
    talk.chat.run()
    assert talk.turns == ["hi", "One"]
    assert "no question yet" in capsys.readouterr().err


def test_commands(capsys):
    lines = ["hi", "/system Be kind.", "/bogus", "/etc/passwd?", "/?", "/clear"]
    talk = Talk(lines, [["Hello"], ["A file."]])
    talk.chat.run()
    assert talk.turns == ["Be kind."]
    out, err = capsys.readouterr()
    assert "there is no command /bogus" in err
    assert talk.asked[1][-1] == "/etc/passwd?"
    for name in NAMES:
        assert name in out


def test_saving(tmp_path):
    conversation = Conversation("Be brief.")
    with pytest.raises(InputError, match="nothing to save"):
        conversation.save(tmp_path / "a.md")
    conversation.ask("hé?")
    conversation.answer("ho")
    conversation.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == conversation.messages
    conversation.save(tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text("utf-8")
    assert text == "## System\n\nBe brief.\n\n## You\n\nhé?\n\n## Answer\n\nho\n"
    with pytest.raises(InputError, match="exists already"):
        conversation.save(tmp_path / "a.md")
    with pytest.raises(InputError, match="cannot be written"):
        conversation.save(tmp_path / "none" / "a.md")


@pytest.mark.parametrize(
    ("typed", "open_", "message"),
    [
        ("one line", False, "one line"),
        ("first\\", True, "first\\"),
        ("first\\\nsecond", False, "first\nsecond"),
        ('"""', True, ""),
        ('"""a\n\nb', True, "a\n\nb"),
        ('"""a\n\nb"""', False, "a\n\nb"),
        ("", False, ""),
    ],
)
def test_several_lines(typed, open_, message):
    assert is_open(typed) is open_
    assert message_of(typed) == message


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_ctrl_c_in_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    screen = Screen(
        *(sys.executable, "-m", "qrt", "run", "-t", "1", "--ignore-eos", "--context-shift")
    )
    screen.wait_for(r"/help for help")
    screen.wait_for(r"small model inside qrt[^~]*qrt pull ")
    screen.wait_for(r"\?2004h")  # ready to type
    screen.type("hello\r")
    screen.wait_for(r"\w+ \w+ \w+")
    screen.type("\x03")
    assert screen.wait_for(r"\(stopped\)") < 5
    screen.wait_for(r"\?2004h")
    screen.type(f"/save {tmp_path}/chat.json\r")
    screen.wait_for("saved to")
    screen.wait_for(r"\?2004h")
    screen.type("\x03")
    screen.wait_for("again to leave")
    screen.wait_for(r"\?2004h")
    screen.type("\x03")
    assert screen.exit_code() == 130
    question, answer = json.loads((tmp_path / "chat.json").read_text())
    assert question["content"] == "hello"
    assert answer["content"].strip()
    if sys.platform == "linux":
        assert "+hello\n" in (tmp_path / "state" / "qrt" / "chat_history").read_text()

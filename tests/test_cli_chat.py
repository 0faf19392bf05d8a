"""The interactive chat: what it keeps, what it forgets, and Ctrl-C in a real terminal."""

from __future__ import annotations

import json
import sys

import pytest
from screen import Screen
from talk import Talk

from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import is_open, message_of
from qrt.errors import InputError, TemplateError

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")


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


def test_another_answer_is_drawn_where_the_first_is_the_likeliest():
    talk = Talk(["hi", "/regen"], [["One"], ["Two"]])
    talk.fakes[0].model.info.sampling["temperature"] = 0.0
    talk.chat.run()
    assert [keywords for _, keywords in talk.fakes[0].asked] == [{}, {"temperature": 0.8}]


def test_regen_that_fails_keeps_the_answer_before(capsys):
    talk = Talk(["/regen", "hi", "/regen"], [["One"], [KeyboardInterrupt()]])
    talk.chat.run()
    assert talk.turns == ["hi", "One"]
    assert "no question yet" in capsys.readouterr().err


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


def test_thoughts_are_no_part_of_the_conversation():
    talk = Talk(["hi", "more"], [["<think>H", "m.</think>", "\n\nYes"], ["No"]])
    talk.chat.run()
    assert talk.turns == ["hi", "Yes", "more", "No"]


def test_timings_are_shown_when_asked_for(capsys):
    talk = Talk(["hi", "/timings", "hi", "/timings", "hi"], [["a"], ["b"], ["c"]])
    talk.chat.run()
    out, err = capsys.readouterr()
    assert (err.count("first token"), "timings are on" in out) == (1, True)


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


@needs_pty
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


@pytest.fixture
def chat_in_a_terminal(tmp_path):
    """Starts chats that keep what they keep in a folder of the test."""

    def start(*flags):
        command = (sys.executable, "-m", "qrt", "run", "-t", "1", "--temp", "0", *flags)
        return Screen(*command, XDG_STATE_HOME=str(tmp_path / "state"), NO_COLOR="1")

    return start


@needs_pty
def test_what_is_typed_or_pasted_while_it_loads_waits_for_the_prompt(chat_in_a_terminal):
    screen = chat_in_a_terminal()
    screen.wait_for(r"\?2004h")  # before the model is loaded
    screen.type("what is math.sqrt?\r\x1b[200~/etc/hosts\ris what\rmath.floor\x1b[201~?\r")
    screen.wait_for(r"\A((?!math)[\s\S])*/help for help")  # and not one key was shown
    screen.wait_for(r"`math.sqrt\(x\)`")
    screen.wait_for(r"\.\r\n")
    screen.type("/undo\r")
    screen.wait_for("taken back: /etc/hosts is what math.floor\\?")
    screen.type("/bye\r")
    assert screen.exit_code() == 0


@needs_pty
def test_up_recalls_what_ctrl_c_cleared_or_stopped(chat_in_a_terminal):
    screen = chat_in_a_terminal("--ignore-eos", "--context-shift")
    screen.wait_for(r"small model inside qrt[^~]*qrt pull ")
    screen.wait_for(r"\?2004h")
    screen.type("hello there\r")
    screen.wait_for(r"\w+ \w+ \w+ \w+")
    screen.type("\x03")
    screen.wait_for(r"\(stopped\)")
    screen.wait_for(r"\?2004h")
    screen.type("half a qu\x03")
    screen.type("/set n 3\r")
    screen.wait_for(r"max_tokens +3")
    screen.type("\x1b[A\x1b[A estion\r")
    screen.wait_for(r"limit of -n")
    screen.type("\x1b[A\x1b[A\x1b[A\x1b[A!\r")
    screen.wait_for(r"limit of -n")
    screen.type("/undo\r/undo\r")
    screen.wait_for("taken back: hello there!")
    screen.wait_for("taken back: half a qu estion")
    screen.type("\x04")
    assert screen.exit_code() == 0


@needs_pty
def test_ctrl_c_right_behind_a_question_takes_it_back(chat_in_a_terminal):
    screen = chat_in_a_terminal("--ignore-eos", "--context-shift")
    screen.wait_for(r"qrt pull ")
    screen.wait_for(r"\?2004h")
    screen.type("hello there\r\x03")
    screen.wait_for(r"again to leave")
    screen.type("/tokens\r/bye\r")
    screen.wait_for(r"questions +0")
    assert screen.exit_code() == 0


@needs_pty
def test_a_message_that_is_too_long_stays_in_the_line(chat_in_a_terminal):
    screen = chat_in_a_terminal("-c", "64", "-n", "3")
    screen.wait_for(r"\?2004h.*/help for help")
    screen.type("tiny?" + " word" * 100 + "\r")
    screen.wait_for("error: the prompt has 1.. tokens, the context holds 64")
    screen.type("\x7f" * 5 * 100 + "\r/undo\r")
    screen.wait_for(r"taken back: tiny\?")
    screen.type("/exit\r")
    assert screen.exit_code() == 0


@needs_pty
def test_a_chat_is_continued(chat_in_a_terminal, tmp_path):
    screen = chat_in_a_terminal("--session", "mine")
    screen.wait_for("/help for help")
    screen.type("Who wrote Hamlet?\r")
    screen.wait_for("I only know Python's standard library")
    screen.wait_for(r"not sure of this.*qrt pull")
    screen.type("/bye\r")
    assert screen.exit_code() == 0
    assert (tmp_path / "state" / "qrt" / "sessions" / "mine.json").stat().st_mode & 0o777 == 0o600
    screen = chat_in_a_terminal("--continue", "--timings")
    screen.wait_for(r"session mine goes on after: Who wrote Hamlet\?")
    screen.type("What does os.path.join do?\r")
    screen.wait_for(r"Join two")
    screen.wait_for(r"tok/s")
    assert "not sure" not in screen.text
    screen.type("/undo\r/undo\r/quit\r")
    screen.wait_for(r"taken back: What does")
    screen.wait_for(r"taken back: Who wrote")
    assert screen.exit_code() == 0


@needs_pty
@pytest.mark.parametrize("leave", ["\x03", "/exit\r"])
def test_the_terminal_is_left_as_it_was(chat_in_a_terminal, leave):
    import termios

    screen = chat_in_a_terminal()
    before = termios.tcgetattr(screen.fd)[3]
    screen.wait_for(r"\?2004h")
    screen.type(leave)
    assert screen.exit_code() in (0, 130)
    assert screen.text.rstrip().endswith("?2004l")
    assert termios.tcgetattr(screen.fd)[3] == before

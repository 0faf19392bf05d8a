"""A chat whose context fills: whole turns leave, and answers are those of a fresh session."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from talk import Answer, Fake
from typer.testing import CliRunner

from qrt.cli.app import app
from qrt.cli.chat.answering import Answering
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.eviction import answer_room, fitted
from qrt.cli.chat.loop import Chat
from qrt.cli.chat.respondent import Respondent
from qrt.cli.chat.settings import Settings
from qrt.cli.chat_flags import ChatFlags
from qrt.errors import ContextFullError

NAMES = ("os.path.join", "json.dumps", "itertools.chain", "math.sqrt", "re.sub", "shutil.copy")


class Recorded(Respondent):
    """The embedded model; what it was asked, and what it said."""

    def __init__(self, n_ctx):
        super().__init__(None, ChatFlags(n_ctx=n_ctx, n_threads=1))
        self.asked, self.prompts = [], []

    def tokens(self, messages):
        self.messages = messages
        return super().tokens(messages)

    def stream(self, prompt, keywords):
        self.asked.append(self.messages)
        self.prompts.append(prompt)
        return super().stream(prompt, keywords)


def test_200_turns_in_512_tokens(capsys):
    options = {"temperature": 0, "max_tokens": 256, "stop": "("}
    respondent = Recorded(512)
    lines = itertools.chain(
        (f"What does {NAMES[i % len(NAMES)]} do?" for i in range(200)), [EOFError()]
    )

    def read(_):
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    chat = Chat(
        respondent,
        read,
        open_model=Respondent,
        keep=lambda _: None,
        conversation=Conversation("Be brief."),
        settings=Settings(options),
    )
    assert chat.run() == 0
    out, err = capsys.readouterr()
    assert err == ""
    answers = [m["content"] for m in chat.conversation.everything if m["role"] == "assistant"]
    assert len(answers) == len(respondent.asked) == 200
    for messages, answer in zip(respondent.asked, answers, strict=True):
        assert messages[0] == {"role": "system", "content": "Be brief."}
        assert messages[1]["role"] == "user"
        fresh = respondent.model.chat(messages, **options)
        assert fresh.text == answer
    n_gone = out.count("left it")
    assert 10 < n_gone < 40


def words(messages):
    """A token for each word, and one for the message."""
    return [0] * sum(1 + len(m["content"].split()) for m in messages)


def talk(*n_words, system=None):
    """A conversation of questions of so many words, each but the last with an answer of one."""
    conversation = Conversation(system)
    for number, n in enumerate(n_words):
        if number:
            conversation.answer("yes")
        conversation.ask("word " * n)
    return conversation


@pytest.mark.parametrize(
    ("conversation", "n_gone", "n_tokens"),
    [
        (talk(10, 10, 10), 0, 37),
        (talk(10, 10, 10, 34), 0, 74),  # with 25 for the answer, all of it
        (talk(10, 10, 10, 36), 2, 50),  # 76 with all; goal 50
        (talk(10, 10, 10, 36, system="a b"), 3, 40),
        (talk(10, 10, 60), 2, 61),
        (talk(95), 0, 96),  # little room for an answer, but some
    ],
)
def test_oldest_turns_leave_as_far_as_needed_and_some_more(conversation, n_gone, n_tokens):
    everything = conversation.everything
    prompt, n = fitted(conversation, words, 100, None)
    assert (n, len(prompt)) == (n_gone, n_tokens)
    assert len(prompt) == len(words(conversation.messages))
    assert conversation.everything == everything
    assert (conversation.n_gone, fitted(conversation, words, 100, None)[1]) == (n_gone, 0)


def test_a_question_that_is_too_long_lets_no_turn_go():
    conversation = talk(10, 10, 99)
    with pytest.raises(ContextFullError, match="has 100 tokens, the context holds 100"):
        fitted(conversation, words, 100, None)
    assert conversation.n_gone == 0
    conversation.take_back()
    assert fitted(conversation, words, 100, None)[1] == 0


def test_room_for_an_answer():
    assert [answer_room(400, n) for n in (None, 5, 1000)] == [100, 5, 200]


def test_an_answer_that_fills_the_context_goes_on_while_older_turns_can_leave():
    respondent = Recorded(n_ctx=128)
    conversation = talk(12, 12, 12, 3)
    settings = Settings({"temperature": 0, "ignore_eos": True})
    answering = Answering(respondent, conversation, settings, 0)
    text = "".join(record.text for record in answering)
    assert text == "".join(record.text for record in answering.records)
    assert (answering.n_gone, answering.is_full) == (conversation.n_gone, True)
    assert len(respondent.prompts) > 1
    said = [record.token for record in answering.records]
    last = respondent.prompts[-1]
    left = respondent.model.tokenize_chat(conversation.messages)
    n_said = len(last) - len(left)
    assert last == left + said[:n_said]
    fresh = respondent.model.generate(last, **settings.given)
    assert list(fresh.tokens) == said[n_said:]


class Filling(Fake):
    """A model that fills its context; the token before it is full is half a character."""

    def tokens(self, messages):
        return words(messages)

    def stream(self, prompt, keywords):
        self.asked.append((prompt, keywords))
        n_free = self.n_ctx - len(prompt)
        ends = {n_free - 1: ("", None), n_free: ("\ufffd", "length")}
        return Records([ends.get(n, (f"{n} ", None)) for n in range(1, n_free + 1)])


class Records(Answer):
    """A stream of texts, each with what it ends for; its tokens are counted."""

    def __iter__(self):
        for n, (text, reason) in enumerate(self.words, 1):
            yield SimpleNamespace(text=text, token=n, finish_reason=reason)


def test_an_answer_goes_on_behind_its_last_whole_character():
    respondent = Filling(n_ctx=60)
    answering = Answering(respondent, talk(5, 5, 5), Settings({"max_tokens": 50}), 0)
    text = "".join(record.text for record in answering)
    (first, before), (second, after) = respondent.asked
    n_kept = 60 - len(first) - 2  # without half a character, and the one that came of it
    assert second[-n_kept:] == list(range(1, n_kept + 1))
    assert second[:-n_kept] == words(answering._conversation.messages)
    assert (before["max_tokens"], after["max_tokens"]) == (50, 50 - n_kept)
    assert text.count("\ufffd") == 1
    assert len(answering.records) == n_kept + 60 - len(second)


@pytest.mark.parametrize("command", [["run", "hi"], ["complete", "-p", "hi"]])
def test_one_answer_that_the_context_cuts_says_so(command):
    flags = ["-c", "64", "--ignore-eos", "--temp", "0"]
    cut = CliRunner().invoke(app, [*command, *flags])
    assert cut.stderr == "(cut short: the context of 64 tokens is full; -c N makes it larger)\n"
    limited = CliRunner().invoke(app, [*command, *flags, "-n", "5"])
    assert (limited.exit_code, limited.stderr) == (0, "")

"""A chat in which a list is typed, and a list answered."""

from __future__ import annotations

from types import SimpleNamespace

from qrt.api import Timings
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.loop import Chat
from qrt.cli.chat.settings import Settings
from qrt.cli.chat_flags import ChatFlags
from qrt.errors import InputError
from qrt.replies import plain_reader

TIMINGS = Timings(5, 0, 2, 0.1, 50.0, 20.0, 1.0)


class Answer:
    """A stream that says its words; one that is an exception is raised."""

    def __init__(self, words):
        self.words, self.timings = words, TIMINGS

    def __iter__(self):
        for word in self.words:
            if not isinstance(word, str):
                raise word
            yield SimpleNamespace(text=word, token=0, finish_reason=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Fake:
    """A model that says `answers`, and remembers what it was asked."""

    def __init__(self, answers=(), path="fake.gguf", n_ctx=1000):
        self.path, self.load, self.n_ctx, self.title = path, ChatFlags(), n_ctx, f"fake {path}"
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

    def reader(self, _):
        return plain_reader()

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

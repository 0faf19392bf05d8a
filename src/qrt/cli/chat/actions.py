"""Commands that change a chat; each takes the chat and the text behind the command's name."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qrt.cli.arguments import located, read_text
from qrt.cli.chat import shows
from qrt.cli.chat.clipboard import copy_text
from qrt.cli.chat.conversation import read_conversation
from qrt.cli.chat.settings import DEFAULT
from qrt.cli.output import note
from qrt.errors import ContextFullError, InputError, ModelError

if TYPE_CHECKING:
    from qrt.cli.chat.loop import Chat
    from qrt.cli.chat.turns import Turns

_CONTEXT = ("context", "ctx", "n_ctx", "num_ctx", "c")
_OLLAMA = "parameter "
"""Stands before the name of an option there."""
_SHOWN = 60


def regen(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """Another answer to the last question."""
    chat.answer_again()


def undo(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """Takes the last question and its answer back."""
    question = chat.conversation.take_back()
    if question is None:
        raise InputError("there is nothing to take back")
    note(sys.stdout, f"taken back: {short(question)}")


def clear(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """Forgets the conversation, and files put in."""
    chat.conversation.clear()
    chat.attached.clear()
    note(sys.stdout, "the conversation is forgotten")


def file(chat: Chat, rest: str) -> None:
    """Puts the text of a file into the next question."""
    if not rest:
        raise InputError("usage: /file PATH")
    text = read_text(os.path.expanduser(rest))
    if not text.strip():
        raise InputError(f"{rest}: is empty")
    n_tokens, n_ctx = chat.respondent.count(text), chat.respondent.n_ctx
    if n_tokens >= n_ctx:
        raise ContextFullError(
            f"{rest}: has {n_tokens} tokens, the context holds {n_ctx}; /set context N"
        )
    chat.attached.append(text)
    note(sys.stdout, f"{rest}: {n_tokens} tokens, which go with the next question")


def copy(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """The last answer to the clipboard."""
    answer = chat.conversation.last_answer
    if answer is None:
        raise InputError("there is no answer yet to copy")
    note(sys.stdout, f"{len(answer)} characters {copy_text(answer)}")


def save(chat: Turns, rest: str) -> None:
    """Writes the conversation."""
    path = chat.conversation.save(Path(os.path.expanduser(rest)) if rest else None)
    note(sys.stdout, f"saved to {path}")


def load(chat: Chat, rest: str) -> None:
    """Goes on with another model, or with a conversation that was saved."""
    if not rest:
        raise InputError("usage: /load MODEL, or /load FILE.json")
    path = os.path.expanduser(rest)
    if path.endswith(".json"):
        chat.conversation = read_conversation(read_text(path), path)
        note(sys.stdout, f"{chat.conversation.n_questions} questions with their answers")
        return
    path = located(path)
    if not os.path.isfile(path):
        raise ModelError(f"{rest}: no such file or model; qrt list shows those that are here")
    chat.replace_model(path, dataclasses.replace(chat.respondent.load, n_ctx=None))
    chat.introduce()


def set_(chat: Chat, rest: str) -> None:
    """Sets an option of answers, the system prompt or the size of the context."""
    name, *values = re.split(r"[=\s]", rest.removeprefix(_OLLAMA), maxsplit=1)
    value = "".join(values).strip()
    if not name:
        shows.options(chat)
    elif name == "system":
        system(chat, value)
    elif not value:
        raise InputError(f"usage: /set {name} VALUE, or /set {name} {DEFAULT}")
    elif name in _CONTEXT:
        _set_context(chat, value)
    else:
        chat.settings.set(name, value)
        shows.options(chat)


def system(chat: Turns, rest: str) -> None:
    """Sets the system prompt, or shows it."""
    if rest:
        chat.conversation.system = None if rest == DEFAULT else rest
    note(sys.stdout, f"system prompt: {chat.conversation.system or '(none)'}")


def timings(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """The line of timings, on or off."""
    chat.shown = chat.shown._replace(timings=not chat.shown.timings)
    note(sys.stdout, f"timings are {'on' if chat.shown.timings else 'off'}")


def leave(chat: Turns, rest: str) -> None:  # noqa: ARG001
    """Ends the chat."""
    chat.is_over = True


def short(text: str) -> str:
    """The start of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _set_context(chat: Chat, value: str) -> None:
    try:
        n_ctx = None if value == DEFAULT else int(value)
    except ValueError:
        raise InputError(f"context must be a whole number of tokens, got {value!r}") from None
    old = chat.respondent
    chat.replace_model(old.path, dataclasses.replace(old.load, n_ctx=n_ctx))
    note(sys.stdout, f"the context holds {chat.respondent.n_ctx} tokens")

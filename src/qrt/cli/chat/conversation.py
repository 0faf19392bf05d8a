"""The turns of a chat: what the model is given, what left its context, what can be saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from qrt.errors import InputError

Message = dict[str, str]

_HEADINGS = {"system": "System", "user": "You", "assistant": "Answer"}
_TURNS = ("user", "assistant")


class Conversation:
    """A system prompt and turns: a question of the user, and behind it an answer.

    Turns that left the context stay in what is saved, and the model is given the rest.
    """

    def __init__(self, system: str | None = None, turns: Sequence[Message] = ()) -> None:
        self.system = system
        self._turns = list(turns)
        self._n_gone = 0  # of the first messages

    @property
    def messages(self) -> list[Message]:
        """What the model is given: the system prompt, and the turns that are left."""
        return self._system_first() + self._turns[self._n_gone :]

    @property
    def everything(self) -> list[Message]:
        """The system prompt and all turns, those that left the context too."""
        return self._system_first() + self._turns

    @property
    def n_questions(self) -> int:
        """How many questions the model is given."""
        return len(self._questions())

    @property
    def n_gone(self) -> int:
        """How many questions left the context."""
        return sum(turn["role"] == "user" for turn in self._turns[: self._n_gone])

    @property
    def last_question(self) -> str | None:
        """The question of the last turn."""
        return next((t["content"] for t in reversed(self._turns) if t["role"] == "user"), None)

    @property
    def last_answer(self) -> str | None:
        """The answer of the last turn."""
        last = self._turns[-1] if self._turns else None
        return last["content"] if last and last["role"] == "assistant" else None

    def ask(self, text: str) -> None:
        """The user's message, in place of one that got no answer."""
        if self._turns and self._turns[-1]["role"] == "user":
            self._turns.pop()
        self._turns.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """The model's message."""
        self._turns.append({"role": "assistant", "content": text})

    def take_back(self) -> str | None:
        """Removes the last question and its answer; the question, None if there is none."""
        while self._turns:
            turn = self._turns.pop()
            if self._n_gone >= len(self._turns):
                self._n_gone = 0
            if turn["role"] == "user":
                return turn["content"]
        return None

    def without(self, n_questions: int) -> list[Message]:
        """What the model would be given if its oldest turns, so many questions, had left."""
        return self._system_first() + self._turns[self._start(n_questions) :]

    def let_go(self, n_questions: int) -> None:
        """The oldest turns, so many questions, leave the context."""
        self._n_gone = self._start(n_questions)

    def bring_back(self) -> None:
        """All turns are in the context again."""
        self._n_gone = 0

    def copy(self) -> Conversation:
        """The same turns, to go back to."""
        twin = Conversation(self.system, self._turns)
        twin._n_gone = self._n_gone
        return twin

    def clear(self) -> None:
        """Forgets all turns; the system prompt stays."""
        self._turns.clear()
        self._n_gone = 0

    def save(self, path: Path | None) -> Path:
        """Writes a new file: JSON messages for a name in .json, else Markdown; its path.

        Without a path the name has the time in it. Raises InputError if there is nothing to write,
        the file exists or cannot be written.
        """
        if not self._turns:
            raise InputError("there is nothing to save yet")
        path = path or Path(f"chat-{datetime.now():%Y%m%d-%H%M%S}.md")
        if path.suffix == ".json":
            text = json.dumps(self.everything, ensure_ascii=False, indent=2) + "\n"
        else:
            parts = [f"## {_HEADINGS[m['role']]}\n\n{m['content']}\n" for m in self.everything]
            text = "\n".join(parts)
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            raise InputError(f"{path}: exists already; choose another name") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        except ValueError as error:  # a path with a zero byte
            raise InputError(f"{str(path)!r}: cannot be written: {error}") from None
        return path

    def _system_first(self) -> list[Message]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def _questions(self) -> list[int]:
        """Where the questions stand that are in the context."""
        there = range(self._n_gone, len(self._turns))
        return [i for i in there if self._turns[i]["role"] == "user"]

    def _start(self, n_questions: int) -> int:
        """Where the turns begin that follow the oldest `n_questions`."""
        return self._questions()[n_questions]


def read_conversation(text: str, where: str) -> Conversation:
    """The conversation in JSON messages, as `Conversation.save` writes them.

    Raises InputError for anything else, naming `where` it is from.
    """
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not a saved conversation: {_reason(error)}") from None
    return conversation_of(messages, where)


def conversation_of(messages: object, where: str) -> Conversation:
    """The conversation of a list of messages from outside; raises as `read_conversation`."""
    if not isinstance(messages, list):
        raise InputError(f"{where}: is not a saved conversation: expected a list of messages")
    system: str | None = None
    turns: list[Message] = []
    for number, message in enumerate(messages):
        role, content = _parts(message)
        if number == 0 and role == "system" and content is not None:
            system = content
        elif role in _TURNS and content is not None and (turns or role == "user"):
            turns.append({"role": role, "content": content})
        else:
            expected = "a system prompt at most, then a question first, each a role and a text"
            raise InputError(f"{where}: message {number} is not as expected: {expected}")
    if turns and turns[-1]["role"] == "user":
        turns.pop()
    return Conversation(system, turns)


def _parts(message: object) -> tuple[str | None, str | None]:
    """Role and content of a message; None for what is no text, or none that UTF-8 can hold."""
    if not isinstance(message, dict):
        return None, None
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        return None, None
    return role, content.encode("utf-8", "replace").decode()


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)

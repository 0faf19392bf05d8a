"""The turns of a chat: what the model is given, and what can be saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from qrt.errors import InputError

_HEADINGS = {"system": "System", "user": "You", "assistant": "Answer"}


class Conversation:
    """A system prompt and turns by user and assistant, one after the other."""

    def __init__(self, system: str | None = None, turns: Sequence[dict[str, str]] = ()) -> None:
        self.system = system
        self._turns = list(turns)

    @property
    def messages(self) -> list[dict[str, str]]:
        """All messages, the system prompt first."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return first + self._turns

    @property
    def last_text(self) -> str:
        """What the last message says."""
        return self._turns[-1]["content"]

    def ask(self, text: str) -> None:
        """The user's turn, in place of one that got no answer."""
        if self._turns and self._turns[-1]["role"] == "user":
            self._turns.pop()
        self._turns.append({"role": "user", "content": text})

    def answer(self, text: str) -> None:
        """The model's turn."""
        self._turns.append({"role": "assistant", "content": text})

    def take_back(self) -> str | None:
        """Removes the last question and its answer; the question, None if there is none."""
        while self._turns:
            turn = self._turns.pop()
            if turn["role"] == "user":
                return turn["content"]
        return None

    def copy(self) -> Conversation:
        """The same turns, to go back to."""
        return Conversation(self.system, self._turns)

    def clear(self) -> None:
        """Forgets all turns; the system prompt stays."""
        self._turns.clear()

    def save(self, path: Path) -> None:
        """Writes a new file: JSON messages for a name in .json, else Markdown.

        Raises InputError if there is nothing to write, the file exists or cannot be written.
        """
        if not self._turns:
            raise InputError("there is nothing to save yet")
        if path.suffix == ".json":
            text = json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n"
        else:
            parts = [f"## {_HEADINGS[m['role']]}\n\n{m['content']}\n" for m in self.messages]
            text = "\n".join(parts)
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            raise InputError(f"{path}: exists already; choose another name") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None

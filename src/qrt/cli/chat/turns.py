"""The turns of a chat: what is typed is answered or obeyed; no error and no interrupt ends it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from qrt.cli import INTERRUPTED
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import Read
from qrt.cli.chat.settings import Settings
from qrt.cli.guard import print_error
from qrt.cli.output import ALL, AnswerWriter, Shown, note
from qrt.errors import ContextFullError, InputError, QrtError

Keep = Callable[[Any], None]
"""Puts the conversation of a chat where it can be continued later."""


class Turns(ABC):
    """A chat with input from `read`; `run` returns the exit code.

    Commands work on its public attributes. `attached` are texts of files that the next question
    takes along.
    """

    has_model: ClassVar[bool]
    """Whether the model is in this process."""

    def __init__(
        self,
        read: Read,
        *,
        keep: Keep,
        conversation: Conversation,
        settings: Settings,
        shown: Shown = ALL,
    ) -> None:
        self.conversation = conversation
        self.settings = settings
        self.shown = shown
        self.attached: list[str] = []
        self.is_over = False
        self._read = read
        self._keep = keep
        self._typed = ""
        """What the next input starts from: a question that was too long."""
        self._n_others = 0
        self._interrupted = False

    def run(self, first: str = "") -> int:
        """Until /exit, the end of input (0), or Ctrl-C twice (130); `first` is not typed."""
        while not self.is_over:
            try:
                typed, self._typed = self._typed, ""
                text, first = first or self._read(typed), ""
                if text:
                    self._interrupted = False
                    self._handle(text)
                    self._keep(self)
            except EOFError:
                break
            except KeyboardInterrupt:
                if self._interrupted:
                    return INTERRUPTED
                self._interrupted = True
                note(sys.stdout, "Ctrl-C again to leave")
            except QrtError as error:
                print_error(str(error))
        return 0

    def answer_again(self) -> None:
        """Another answer to the last question, in place of its answer unless there is none."""
        before = self.conversation.copy()
        question = self.conversation.take_back()
        if question is None:
            raise InputError("there is no question yet to answer again")
        self._n_others += 1
        answered = False
        try:
            answered = self._answer(question)
        finally:
            if not answered:
                self.conversation = before

    def _handle(self, text: str) -> None:
        from qrt.cli.chat.commands import command_in

        command = command_in(text)
        if command is not None:
            if command.needs_model and not self.has_model:
                what = f"{command.names[0]} works on a model that is loaded here"
                raise InputError(f"{what}; leave --server out")
            command.run(self, text.partition(" ")[2].strip())
            return
        self._n_others = 0
        try:
            if self._answer("\n\n".join([text, *self.attached])):
                self.attached.clear()
        except ContextFullError as error:
            self._typed = text
            attached = "; what /file put in is let go" if self.attached else ""
            self.attached.clear()
            raise ContextFullError(f"{error}{attached}") from None

    def _answer(self, question: str) -> bool:
        """Streams the answer to `question` and keeps both; False, keeping none, if there is none.

        What came before Ctrl-C or an error is an answer too. Raises ContextFullError, keeping none,
        for a question that is too long.
        """
        self.conversation.ask(question)
        try:
            writer, stream = self._begin()
        except BaseException:
            self.conversation.take_back()
            raise
        try:
            stream()
        except KeyboardInterrupt:
            self._interrupted = True
            note(sys.stdout, "(stopped)")
        except QrtError as error:
            print_error(str(error))
        print(flush=True)
        if writer.answer.strip():
            self.conversation.answer(writer.answer)
            return True
        self.conversation.take_back()
        return False

    @abstractmethod
    def _begin(self) -> tuple[AnswerWriter, Callable[[], None]]:
        """What writes the answer to the last question, and what streams it there."""

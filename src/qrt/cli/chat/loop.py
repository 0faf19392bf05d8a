"""The loop of a chat: what is typed is answered or obeyed; no error and no interrupt ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from qrt.cli import INTERRUPTED
from qrt.cli.chat import embedded
from qrt.cli.chat.answering import Answering
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import Read
from qrt.cli.chat.settings import Settings
from qrt.cli.guard import print_error
from qrt.cli.loading import recommended_line
from qrt.cli.output import ALL, AnswerWriter, Shown, note
from qrt.cli.timings import timings_line
from qrt.errors import ContextFullError, InputError, QrtError

if TYPE_CHECKING:
    from qrt.cli.chat.respondent import Respondent
    from qrt.cli.chat_flags import ChatFlags

Open = Callable[[str | None, "ChatFlags"], "Respondent"]
"""open(path, how to load it): a model to talk to."""

Keep = Callable[["Chat"], None]
"""Puts the conversation where it can be continued later."""


class Chat:
    """A chat with `respondent`, with input from `read`; `run` returns the exit code.

    Commands work on its public attributes. `attached` are texts of files that the next question
    takes along.
    """

    def __init__(
        self,
        respondent: Respondent,
        read: Read,
        *,
        open_model: Open,
        keep: Keep,
        conversation: Conversation,
        settings: Settings,
        shown: Shown = ALL,
    ) -> None:
        self.respondent = respondent
        self.conversation = conversation
        self.settings = settings
        self.shown = shown
        self.attached: list[str] = []
        self.is_over = False
        self._read = read
        self._open = open_model
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

    def introduce(self) -> None:
        """Says who answers, and how."""
        note(sys.stdout, f"{self.respondent.title}; /help for help")
        if recommended := recommended_line(self.respondent.model, self.settings.given):
            note(sys.stdout, f"sampling, as the model recommends: {recommended}")
        if self.respondent.path is None:
            note(sys.stdout, embedded.ABOUT)

    def replace_model(self, path: str | None, load: ChatFlags) -> None:
        """Goes on with another model, or the same one loaded differently.

        Memory may hold only one of them, so the old one goes first; it comes back if that fails.
        """
        old = self.respondent
        old.close()
        try:
            self.respondent = self._open(path, load)
        except BaseException:
            self.respondent = self._open(old.path, old.load)
            raise
        self.conversation.bring_back()

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
            answering = Answering(self.respondent, self.conversation, self.settings, self._n_others)
        except BaseException:
            self.conversation.take_back()
            raise
        writer = AnswerWriter(sys.stdout, answering.reader, self.shown)
        try:
            self._stream(answering, writer)
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

    def _stream(self, answering: Answering, writer: AnswerWriter) -> None:
        """Writes an answer as it comes, and notes on it."""
        n_gone = answering.n_gone
        _tell_gone(n_gone)
        try:
            for record in answering:
                writer.write(record.text, record.token)
        finally:
            writer.end()
        _tell_gone(answering.n_gone - n_gone)
        records = answering.records
        if records and records[-1].finish_reason == "length":
            name = "context" if answering.is_full else "n"
            why = "the context is full" if answering.is_full else "that was the limit of -n"
            note(sys.stdout, f"(cut short: {why}; /set {name} N allows more)")
        elif not writer.answer.strip():
            note(sys.stdout, "(the model has nothing to say to this)")
        elif self.respondent.path is None and embedded.is_unsure(records):
            note(sys.stdout, embedded.UNSURE)
        if self.shown.timings and answering.timings is not None:
            note(sys.stderr, timings_line(answering.timings))


def _tell_gone(n_turns: int) -> None:
    if n_turns:
        what = "turn has" if n_turns == 1 else f"{n_turns} turns have"
        note(sys.stdout, f"(the context is full: the oldest {what} left it)")

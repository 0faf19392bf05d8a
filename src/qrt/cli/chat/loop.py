"""The loop of a chat: what is typed is answered or obeyed; no error and no interrupt ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from qrt.cli import INTERRUPTED
from qrt.cli.chat import embedded
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.eviction import fitted
from qrt.cli.chat.keyboard import Read
from qrt.cli.chat.settings import Settings
from qrt.cli.guard import print_error
from qrt.cli.loading import recommended_line
from qrt.cli.output import AnswerWriter, note
from qrt.cli.timings import timings_line
from qrt.errors import ContextFullError, InputError, QrtError

if TYPE_CHECKING:
    from qrt.api import TokenRecord
    from qrt.cli.chat.respondent import Respondent
    from qrt.cli.flags import LoadFlags

Open = Callable[[str | None, "LoadFlags"], "Respondent"]
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
        timings: bool = False,
    ) -> None:
        self.respondent = respondent
        self.conversation = conversation
        self.settings = settings
        self.shows_timings = timings
        self.attached: list[str] = []
        self.is_over = False
        self._read = read
        self._open = open_model
        self._keep = keep
        self._typed = ""
        """What the next input starts from: a question that was too long."""
        self._n_others = 0
        self._interrupted = False

    def run(self) -> int:
        """Until /exit, the end of input (0), or Ctrl-C twice (130)."""
        while not self.is_over:
            try:
                typed, self._typed = self._typed, ""
                text = self._read(typed)
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

    def replace_model(self, path: str | None, load: LoadFlags) -> None:
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
        records: list[TokenRecord] = []
        try:
            self._stream(records)
        except KeyboardInterrupt:
            self._interrupted = True
            note(sys.stdout, "(stopped)")
        except ContextFullError:
            self.conversation.take_back()
            raise
        except QrtError as error:
            print_error(str(error))
        answer = "".join(record.text for record in records)
        if answer.strip():
            self.conversation.answer(answer)
            return True
        self.conversation.take_back()
        return False

    def _stream(self, records: list[TokenRecord]) -> None:
        """Writes the answer to the last question as it comes, and notes on it."""
        settings, n_ctx = self.settings, self.respondent.n_ctx
        prompt, n_gone = fitted(
            self.conversation, self.respondent.tokens, n_ctx, settings.max_tokens
        )
        if n_gone:
            what = "turn has" if n_gone == 1 else f"{n_gone} turns have"
            note(sys.stdout, f"(the context is full: the oldest {what} left it)")
        writer = AnswerWriter(sys.stdout)
        try:
            with self.respondent.stream(prompt, settings.for_answer(self._n_others)) as stream:
                for record in stream:
                    records.append(record)
                    writer.write(record.text)
                timings = stream.timings
        finally:
            writer.end()
        if records and records[-1].finish_reason == "length":
            is_full = len(prompt) + len(records) >= n_ctx
            why = "the context is full; /set context N" if is_full else "the limit of -n; /set n N"
            note(sys.stdout, f"(cut short: {why} allows more)")
        elif not "".join(record.text for record in records).strip():
            note(sys.stdout, "(the model has nothing to say to this)")
        elif self.respondent.path is None and embedded.is_unsure(records):
            note(sys.stdout, embedded.UNSURE)
        if self.shows_timings:
            note(sys.stderr, timings_line(timings))

"""A chat with a model of this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from qrt.cli.chat import embedded
from qrt.cli.chat.answering import Answering
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import Read
from qrt.cli.chat.settings import Settings
from qrt.cli.chat.turns import Keep, Turns
from qrt.cli.loading import recommended_line
from qrt.cli.output import ALL, AnswerWriter, Shown, note
from qrt.cli.timings import timings_line

if TYPE_CHECKING:
    from qrt.cli.chat.respondent import Respondent
    from qrt.cli.chat_flags import ChatFlags

Open = Callable[[str | None, "ChatFlags"], "Respondent"]
"""open(path, how to load it): a model to talk to."""


class Chat(Turns):
    """A chat with `respondent`."""

    has_model: ClassVar[bool] = True

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
        super().__init__(read, keep=keep, conversation=conversation, settings=settings, shown=shown)
        self.respondent = respondent
        self._open = open_model

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

    def _begin(self) -> tuple[AnswerWriter, Callable[[], None]]:
        answering = Answering(self.respondent, self.conversation, self.settings, self._n_others)
        writer = AnswerWriter(sys.stdout, answering.reader, self.shown)
        return writer, partial(self._stream, answering, writer)

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

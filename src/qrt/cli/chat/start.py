"""Starts a chat in the terminal, and keeps it while it goes on."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from qrt.cli.chat.actions import short
from qrt.cli.chat.commands import NAMES
from qrt.cli.chat.keyboard import Keyboard
from qrt.cli.chat.loop import Chat
from qrt.cli.chat.respondent import Respondent
from qrt.cli.chat.typeahead import keys_wait
from qrt.cli.output import note
from qrt.errors import QrtError

if TYPE_CHECKING:
    from qrt.cli.chat.conversation import Conversation
    from qrt.cli.chat.kept import Keeper
    from qrt.cli.chat.settings import Settings
    from qrt.cli.chat_flags import ChatFlags
    from qrt.cli.flags import AnswerFlags


def run_chat(
    path: str | None,
    load: ChatFlags,
    answer: AnswerFlags,
    settings: Settings,
    conversation: Conversation,
    keeper: Keeper,
    first: str | None,
) -> int:
    """A chat with the model at `path`, which goes on from `conversation`, with the question `first`
    if there is one; its exit code."""
    with keys_wait():
        respondent = Respondent(path, load, answer.think)
        if keeper.is_kept:
            respondent.recall(keeper.state)
        chat = Chat(
            respondent,
            Keyboard(NAMES),
            open_model=partial(Respondent, think=answer.think),
            keep=_Keeping(keeper),
            conversation=conversation,
            settings=settings,
            shown=answer.shown,
        )
        chat.introduce()
        if question := conversation.last_question:
            note(sys.stdout, f"session {keeper.name} goes on after: {short(question)}")
        try:
            code = chat.run(first or "")
            if keeper.is_kept:
                chat.respondent.remember(keeper.state)
                keeper.tidy()
            return code
        finally:
            chat.respondent.close()


class _Keeping:
    """Writes a chat to its file; a disk that fails costs that, no more, and is told of once."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._has_failed = False

    def __call__(self, chat: Chat) -> None:
        if self._has_failed:
            return
        try:
            self._keeper.write(chat.conversation, chat.respondent.path)
        except (OSError, QrtError) as error:
            self._has_failed = True
            note(sys.stdout, f"(this chat is not kept: {error})")

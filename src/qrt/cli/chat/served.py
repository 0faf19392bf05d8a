"""A chat with a model of a server that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from qrt.cli.asking import CHAT, chat_body, options, stream, who
from qrt.cli.chat.commands import COMMANDS
from qrt.cli.chat.conversation import Conversation
from qrt.cli.chat.keyboard import Keyboard
from qrt.cli.chat.settings import Settings
from qrt.cli.chat.turns import Turns
from qrt.cli.chat_flags import ChatFlags
from qrt.cli.flags import AnswerFlags, RemoteFlags
from qrt.cli.output import AnswerWriter, Shown, note
from qrt.cli.remote import Remote, running


class ServerChat(Turns):
    """A chat with the model of a server, to which each request tells all turns."""

    has_model: ClassVar[bool] = False

    def __init__(
        self,
        remote: Remote,
        body: Mapping[str, Any],
        *,
        conversation: Conversation,
        settings: Settings,
        shown: Shown,
    ) -> None:
        names = tuple(name for c in COMMANDS if not c.needs_model for name in c.names)
        super().__init__(
            Keyboard(names),
            keep=lambda _: None,
            conversation=conversation,
            settings=settings,
            shown=shown,
        )
        self._remote = remote
        self._body = body

    def _begin(self) -> tuple[AnswerWriter, Callable[[], None]]:
        body = {**self._body, **options(self.settings.for_answer(self._n_others, {}))}
        body["messages"] = self.conversation.messages
        writer = AnswerWriter(sys.stdout, None, self.shown)
        return writer, partial(stream, self._remote, CHAT, body, writer, self.shown)


def chatted(
    flags: RemoteFlags,
    model: str | None,
    load: ChatFlags,
    answer: AnswerFlags,
    system: str | None,
    first: str | None,
    keywords: Mapping[str, Any],
) -> int:
    """A chat, with the question `first` if there is one; its exit code. Raises as `answered`."""
    with running(flags.server_url) as remote:
        body = chat_body(remote, model, load, answer)
        chat = ServerChat(
            remote,
            body,
            conversation=Conversation(system),
            settings=Settings(keywords),
            shown=answer.shown,
        )
        note(sys.stdout, f"{who(remote, body)}; /help for help")
        return chat.run(first or "")

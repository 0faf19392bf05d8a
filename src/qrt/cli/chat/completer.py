"""What Tab completes in a chat: commands, and behind some of them options, models and paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent

_PATHS = ("/file", "/save", "/load")


class ChatCompleter(Completer):
    """Completes `commands` and what follows them."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """The completions of a line that begins with a command."""
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            yield from _beginning(name, self._commands)
        elif name == "/set":
            from qrt.cli.chat.settings import settable

            yield from _beginning(rest, settable())
        elif name in _PATHS:
            if name == "/load":
                from qrt.hub.shown import shown_names

                yield from _beginning(rest, shown_names().values())
            yield from self._paths.get_completions(Document(rest), complete_event)


def _beginning(start: str, words: Iterable[str]) -> Iterable[Completion]:
    return (Completion(word, -len(start)) for word in words if word.startswith(start))

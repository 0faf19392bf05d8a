"""Typed input of a chat: history, several lines, and Ctrl-C that first clears the line."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from qrt.cli.chat.typeahead import mark_pastes
from qrt.places import state_dir

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

Read = Callable[[str], str]
"""read(text to start from): what was typed; EOFError on Ctrl-D, KeyboardInterrupt on Ctrl-C."""

QUOTES = '"""'


class Keyboard:
    """A reader of the terminal that completes `commands` and remembers what was typed before.

    Ctrl-C clears what was typed, which Up recalls; with nothing typed, KeyboardInterrupt is raised.
    """

    def __init__(self, commands: tuple[str, ...]) -> None:
        from prompt_toolkit import PromptSession

        from qrt.cli.chat.completer import ChatCompleter

        self._session: PromptSession[str] = PromptSession(
            history=_history(),
            key_bindings=self._bindings(),
            completer=ChatCompleter(commands),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation="… ",
        )

    def __call__(self, start: str) -> str:
        """What is typed, starting from `start`; see `Read`."""
        try:
            text = self._session.prompt("> ", default=start)
            self._look_for_interrupt()
        finally:
            mark_pastes(True)
        return message_of(text)

    def _look_for_interrupt(self) -> None:
        """Raises KeyboardInterrupt for a Ctrl-C that came while the prompt closed: as a key."""
        from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
        from prompt_toolkit.keys import Keys

        source = self._session.input
        keys = get_typeahead(source) + source.read_keys()
        if any(key.key == Keys.ControlC for key in keys):
            raise KeyboardInterrupt
        store_typeahead(source, keys)

    def _bindings(self) -> KeyBindings:
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("enter")
        def _send(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if is_open(buffer.text):
                buffer.insert_text("\n")
            else:
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if not buffer.text:
                event.app.exit(exception=KeyboardInterrupt)
            else:
                buffer.reset(append_to_history=True)

        return keys


def is_open(text: str) -> bool:
    """Whether more lines belong to `text`: a backslash at its end, or three quotes not closed."""
    if text.lstrip().startswith(QUOTES):
        return not text.lstrip()[len(QUOTES) :].rstrip().endswith(QUOTES)
    return text.endswith("\\")


def message_of(text: str) -> str:
    """What was meant: without the quotes around it, or the backslashes at its line ends."""
    stripped = text.strip()
    if stripped.startswith(QUOTES):
        return stripped.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")
    return text.replace("\\\n", "\n").strip()


def _history() -> History:
    """What was typed in earlier chats; a disk that fails or is full costs the history, no more."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class Forgiving(FileHistory):
        def store_string(self, string: str) -> None:
            with suppress(OSError):
                super().store_string(string)

    try:
        path = state_dir() / "chat_history"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return InMemoryHistory()
    return Forgiving(path)

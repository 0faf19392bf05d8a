"""Typed input of a chat: history, several lines, and Ctrl-C that first clears the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qrt.config import cache_dir
from qrt.errors import QrtError

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

Read = Callable[[str], str]
"""read(text to start from): what was typed; EOFError on Ctrl-D, KeyboardInterrupt on Ctrl-C."""

QUOTES = '"""'


def make_keyboard(commands: tuple[str, ...]) -> Read:
    """A reader of the terminal that completes `commands` and remembers what was typed before."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter

    session: PromptSession[str] = PromptSession(
        history=_history(),
        key_bindings=_bindings(),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        multiline=True,
        prompt_continuation="… ",
    )
    return lambda start: message_of(session.prompt("> ", default=start))


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
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        return FileHistory(cache_dir() / "chat_history")
    except QrtError:  # nowhere to write: the chat works all the same
        return InMemoryHistory()


def _bindings() -> KeyBindings:
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
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys

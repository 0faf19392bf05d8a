"""The commands of a chat, as a table, and which of them a line means."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from qrt.cli.chat import actions, shows
from qrt.cli.chat.turns import Turns
from qrt.cli.output import say
from qrt.errors import InputError

_NAME = re.compile(r"/(\?|[A-Za-z]+)(?=\s|$)")


class Command(NamedTuple):
    """A command: its names, the first of which is shown, what follows them, and what it does.

    needs_model: it works on a model of this process; others are there when a server answers, too.
    """

    names: tuple[str, ...]
    arguments: str
    help: str
    run: Callable[[Any, str], None]
    needs_model: bool = False


def _help(chat: Turns, rest: str) -> None:  # noqa: ARG001
    there = [command for command in COMMANDS if chat.has_model or not command.needs_model]
    usages = [f"{', '.join(command.names)} {command.arguments}".rstrip() for command in there]
    width = max(map(len, usages))
    for usage, command in zip(usages, there, strict=True):
        say(sys.stdout, f"{usage:{width}}  {command.help}", hang=width + 2)
    say(sys.stdout, 'Several lines: end a line with \\ or Alt-Enter, or put """ around them.')
    say(sys.stdout, "Ctrl-C stops the answer, a second one leaves; Ctrl-D leaves.")
    if chat.has_model:
        say(sys.stdout, "The chat is kept: `qrt run --continue` goes on with it.")


COMMANDS: tuple[Command, ...] = (
    Command(("/help", "/?"), "", "this list", _help),
    Command(("/regen", "/retry"), "", "another answer to the last question", actions.regen),
    Command(("/undo",), "", "take the last question and its answer back", actions.undo),
    Command(("/clear",), "", "forget the conversation; the system prompt stays", actions.clear),
    Command(
        ("/file",), "PATH", "put a text into the next question", actions.file, needs_model=True
    ),
    Command(("/copy",), "", "the last answer to the clipboard", actions.copy),
    Command(("/save",), "[FILE]", "write the conversation: .json, or Markdown", actions.save),
    Command(
        ("/load",),
        "MODEL",
        "go on with another model, or a FILE.json of /save",
        actions.load,
        needs_model=True,
    ),
    Command(
        ("/set",), "NAME VALUE", "an option, as in temperature 0.7", actions.set_, needs_model=True
    ),
    Command(("/system",), "[TEXT]", "set the system prompt; without TEXT, show it", actions.system),
    Command(("/show",), "", "model, options, system prompt", shows.show, needs_model=True),
    Command(("/tokens",), "", "what fills the context", shows.tokens, needs_model=True),
    Command(("/timings",), "", "the speed of each answer, on or off", actions.timings),
    Command(("/exit", "/bye", "/quit"), "", "leave", actions.leave),
)

NAMES = tuple(name for command in COMMANDS for name in command.names)


def command_in(text: str) -> Command | None:
    """The command that a line begins with; None for a text, as a path is, or several lines.

    Raises InputError for what looks like a command and is none, naming the nearest.
    """
    found = _NAME.match(text)
    if found is None:
        return None
    name = found.group().lower()
    for command in COMMANDS:
        if name in command.names:
            return command
    if "\n" in text or os.path.exists(found.group()):
        return None
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(f"there is no command {name}; {hint}/help lists them")

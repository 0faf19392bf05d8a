"""Chats that are kept, to be continued: a private file of JSON for each, in the user's state."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qrt.cli.chat.conversation import Conversation, conversation_of
from qrt.config import private_dir, replacing
from qrt.errors import InputError
from qrt.places import state_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNNAMED = re.compile(r"chat-[0-9]{8}-[0-9]{6}(-[0-9]+)?")
_MOST_UNNAMED = 50
"""Chats without a name that are kept; the oldest go."""
_MOST_BYTES = 64 << 20
_ANEW = "take the file away to begin anew"


@dataclass(frozen=True, slots=True)
class Kept:
    """A chat as it was left: its turns, and the path of its model, None for the embedded one."""

    conversation: Conversation
    model: str | None


class Keeper:
    """Keeps one chat under a name; `kept` is what was there of it, if anything.

    A new chat without a name is called by the time. Nothing is written before there is a turn.
    """

    def __init__(self, name: str | None = None) -> None:
        """Raises InputError for a name that can be none and a file that is not ours to read."""
        if name is not None and not _NAME.fullmatch(name):
            expected = "up to 64 letters, digits, dots, - and _"
            raise InputError(f"a session's name has {expected}, got {name!r}")
        self.name = name or _by_the_time()
        self.kept: Kept | None = None
        self._written = ""
        if name is not None and os.path.lexists(self._path):
            text = _read(self._path)
            self.kept, self._written = _kept(text, str(self._path)), text

    @property
    def state(self) -> Path:
        """Where the keys and values of the chat may be stored."""
        return self._path.with_suffix(".state")

    @property
    def is_kept(self) -> bool:
        """Whether there is a file of it."""
        return bool(self._written)

    def write(self, conversation: Conversation, model: str | None) -> None:
        """Keeps a chat as it is now.

        Raises OSError where it cannot be written, BackendError where others may write too.
        """
        messages = conversation.everything
        if len(messages) == (conversation.system is not None) and not self._written:
            return
        model = None if model is None else os.path.abspath(model)
        text = json.dumps({"model": model, "messages": messages}, indent=1) + "\n"
        if text == self._written:
            return
        if not self._written:
            private_dir(_folder().parent)
            private_dir(_folder())
            _make_room()
        with replacing(self._path) as file:
            file.write(text.encode())
        self._written = text

    def tidy(self) -> None:
        """Lets states go: all of chats without a name but this one."""
        with suppress(OSError):
            for path in _folder().glob("*.state"):
                if _UNNAMED.fullmatch(path.stem) and path != self.state:
                    path.unlink()

    @property
    def _path(self) -> Path:
        return _folder() / f"{self.name}.json"


def newest() -> str:
    """The name of the chat that was last written. Raises InputError if none is kept."""
    names = [path.stem for _, path in sorted(_files())]
    if not names:
        raise InputError("there is no chat yet to continue; `qrt run` begins one")
    return names[-1]


def _by_the_time() -> str:
    name = f"chat-{datetime.now():%Y%m%d-%H%M%S}"
    names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    with suppress(InputError):  # no home: `write` will tell
        name = next(name for name in names if not os.path.lexists(_folder() / f"{name}.json"))
    return name


def _folder() -> Path:
    """Raises InputError for a user without a home."""
    try:
        return state_dir() / "sessions"
    except RuntimeError:
        raise InputError("sessions need a home directory; set HOME") from None


def _files() -> Iterator[tuple[float, Path]]:
    """(when it was written, path) of each file."""
    with suppress(OSError):
        for path in _folder().iterdir():
            if path.suffix == ".json" and _NAME.fullmatch(path.stem):
                with suppress(OSError):
                    yield path.stat().st_mtime, path


def _make_room() -> None:
    unnamed = sorted(each for each in _files() if _UNNAMED.fullmatch(each[1].stem))
    for _, path in unnamed[: max(len(unnamed) - _MOST_UNNAMED + 1, 0)]:
        with suppress(OSError):
            path.unlink()


def _read(path: Path) -> str:
    """The text of a file. Raises InputError for anything but a file of ours of a sane size."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InputError(f"{path}: is not a file")
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path}: a session has {_MOST_BYTES >> 20} MiB at most")
        return data.decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a session: expected UTF-8 text; {_ANEW}") from None


def _kept(text: str, where: str) -> Kept:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"{where}: is not a session: expected JSON with a model and messages; {_ANEW}"
        )
    model = found.get("model")
    if not (model is None or isinstance(model, str)):
        raise InputError(f"{where}: its model is not a path; {_ANEW}")
    return Kept(conversation_of(found.get("messages"), where), model)

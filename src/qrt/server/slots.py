"""Slots as llama-server has them: conversations that requests name by a number, kept in files."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from qrt.config import private_dir
from qrt.errors import InputError
from qrt.server.errors import RefusedError

if TYPE_CHECKING:
    from qrt.api import Model, Session

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CURE: Final = "name another --slot-save-path, a directory of your own"


class Slot:
    """A session, and the salt under which what it computes is stored: no other finds it."""

    def __init__(self, model: Model, key_salt: str, number: int) -> None:
        self.number = number
        self._model = model
        self._key_salt = key_salt
        self.session: Session
        self.salt: str
        self.is_lent = asyncio.Lock()
        self.holder: object = None
        self.erase()

    def erase(self) -> None:
        """Forgets all."""
        self.session = self._model.session()
        self.salt = f"{self._key_salt}\0{secrets.token_hex(16)}"


class Slots:
    """Those of a server's models, each made when it is first named. Used from one event loop
    alone."""

    def __init__(self, folder: Path) -> None:
        """folder: where slots are saved. Raises InputError where it cannot be made, BackendError
        where others may write to it."""
        self._folder = folder
        self._of_model: WeakKeyDictionary[Model, dict[tuple[str, int], Slot]] = WeakKeyDictionary()
        try:
            private_dir(folder, _CURE)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made: {error.strerror}; {_CURE}") from None

    @asynccontextmanager
    async def lent(
        self, model: Model, key_salt: str, number: int, holder: object
    ) -> AsyncGenerator[Slot, None]:
        """A slot, once no other `holder` has it. Raises RefusedError for a number that there is
        not, and where this holder has it already."""
        if not 0 <= number < model.max_running:
            expected = f"expected 0 to {model.max_running - 1}"
            raise RefusedError(400, f"id_slot: {expected}, got {number}", param="id_slot")
        slots = self._of_model.setdefault(model, {})
        slot = slots.get((key_salt, number))
        if slot is None:
            slot = slots[key_salt, number] = Slot(model, key_salt, number)
        if slot.holder is holder:
            message = "id_slot: a slot gives one answer at a time; ask for one"
            raise RefusedError(400, message, param="id_slot")
        async with slot.is_lent:
            slot.holder = holder
            try:
                yield slot
            finally:
                slot.holder = None

    def path(self, name: str, key_salt: str) -> Path:
        """The file of a name, of each API key its own. Raises RefusedError."""
        if not _NAME.fullmatch(name):
            expected = "letters, digits, dots, - and _, at most 128, no dot first"
            raise RefusedError(400, f"filename: expected {expected}", param="filename")
        folder = self._folder
        if key_salt:
            folder /= hashlib.sha256(key_salt.encode()).hexdigest()[:16]
            private_dir(folder, _CURE)
        return folder / name

"""Where this user's servers run, for programs of the same user; no stranger can pose as one.

A server leaves a file that only its user can read: its address, its process, a secret, and a key
that holds as long as it runs. It proves to whoever asks with a number used once that it has the
secret, so that a program that took its port after its end gets neither key nor prompt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qrt.config import private_dir, replacing
from qrt.errors import QrtError
from qrt.places import state_dir

_FOLDER = "servers"
_MOST_BYTES = 4096
_NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A server that runs, or ran: `url`, the process, its secret and its key, in hex."""

    url: str
    pid: int
    secret: str
    key: str

    def proof(self, nonce: str) -> str:
        """What only a server with this secret answers to a nonce."""
        told = f"{nonce} {self.pid}".encode()
        return hmac.new(self.secret.encode(), told, hashlib.sha256).hexdigest()

    def is_proven(self, nonce: str, answer: object) -> bool:
        """Whether an answer to a nonce is right."""
        return isinstance(answer, str) and hmac.compare_digest(
            answer.encode("utf-8", "surrogateescape"), self.proof(nonce).encode()
        )


def of_this_process(url: str) -> Whereabouts:
    """Those of a server that this process is about to run, with a new secret and key."""
    pieces = (secrets.token_hex(_NONCE_BYTES) for _ in range(2))
    return Whereabouts(url, os.getpid(), *pieces)


def new_nonce() -> str:
    """A number that is used once."""
    return secrets.token_hex(_NONCE_BYTES)


@contextmanager
def told(where: Whereabouts) -> Iterator[None]:
    """Leaves the file of a server as long as the context lasts; where that cannot be, none."""
    path = None
    with suppress(OSError, RuntimeError, QrtError):
        folder = state_dir() / _FOLDER
        private_dir(folder.parent)
        private_dir(folder)
        path = folder / f"{where.pid}.json"
        with replacing(path) as file:
            file.write(json.dumps(asdict(where)).encode())
    try:
        yield
    finally:
        if path is not None:
            with suppress(OSError):
                path.unlink()


def known() -> list[Whereabouts]:
    """The servers of this user, the newest first; files that dead ones left are deleted."""
    found: list[tuple[float, Whereabouts]] = []
    try:
        folder = state_dir() / _FOLDER
        private_dir(folder)
        paths = list(folder.glob("*.json"))
    except (OSError, RuntimeError, QrtError):
        return []
    for path in paths:
        where = _read(path)
        if where is not None and lives(where.pid):
            with suppress(OSError):
                found.append((path.stat().st_mtime, where))
        else:
            with suppress(OSError):
                path.unlink()
    return [where for _, where in sorted(found, key=lambda one: -one[0])]


def _read(path: Path) -> Whereabouts | None:
    try:
        with path.open("rb") as file:
            content: Any = json.loads(file.read(_MOST_BYTES))
        texts = [content[name] for name in ("url", "secret", "key")]
        pid = content["pid"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(pid) is not int or pid <= 0 or not all(isinstance(text, str) for text in texts):
        return None
    return Whereabouts(texts[0], pid, texts[1], texts[2])


def lives(pid: int) -> bool:
    """Whether a process of this user runs."""
    if os.name == "nt":  # where a signal of 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return False  # it is not this user's
    return True

"""The folder of models that were given to qrt itself, by an upload."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from io import RawIOBase
from pathlib import Path

from qrt.errors import BackendError, InputError, ModelError
from qrt.formats.gguf import open_gguf
from qrt.hub.names import is_file
from qrt.hub.places import own_models

_MAGIC = b"GGUF"
_SPARE_BYTES = 64 << 20
"""What an upload leaves free of a disk."""
_AT_ONCE = 4 << 20
_PARTIAL = ".upload-"
_STALE_S = 3600.0
"""What was not written to for so long belongs to an upload that ended with its server."""


def own_path(name: str) -> Path:
    """Where a model of this name is kept. Raises InputError for a name that could leave the folder,
    under the rules of POSIX or of Windows.
    """
    if "/" in name or not is_file(name):
        raise InputError(f"{name!r}: is no name of a file that qrt would write; give NAME.gguf")
    try:
        return own_models() / name
    except RuntimeError:
        raise BackendError("uploads need a home directory; set HOME") from None


def is_own(path: Path) -> bool:
    """Whether a file lies in that folder."""
    with suppress(RuntimeError):
        return Path(os.path.abspath(own_models())) in Path(os.path.abspath(path)).parents
    return False


def remove(paths: Iterable[Path]) -> int:
    """Deletes files of that folder; the bytes that this frees. Raises BackendError."""
    n_bytes = 0
    for path in paths:
        try:
            n_bytes += path.lstat().st_size
            path.unlink()
        except OSError as error:
            raise BackendError(f"{path}: cannot be deleted: {error.strerror}") from None
    return n_bytes


async def keep(name: str, n_bytes: int, pieces: AsyncIterable[bytes]) -> Path:
    """Writes a GGUF file of `n_bytes` that comes in pieces, and puts it in place once it is whole
    and can be read; until then, and after any error, nothing stands under its name.

    Raises InputError for a name, a length or bytes that are not right, and a name that is taken;
    BackendError where the disk has no room.
    """
    target = own_path(name)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(target.parent)
        _check_new(target, n_bytes)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=_PARTIAL)
    except OSError as error:
        raise _unwritable(name, error) from None
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            await _write(file, name, n_bytes, pieces)
        await asyncio.to_thread(_put, temporary, target)
    except OSError as error:
        raise _unwritable(name, error) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    return target


def _tidy(folder: Path) -> None:
    """Deletes what is left of uploads that were cut short with their server."""
    for path in folder.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _check_new(target: Path, n_bytes: int) -> None:
    if target.exists():
        raise InputError(f"{target.name}: is here already; `qrt rm` it, or give another name")
    free = shutil.disk_usage(target.parent).free
    if n_bytes > free - _SPARE_BYTES:
        raise BackendError(
            f"{target.name}: {n_bytes / 1e9:.2f} GB are to be written, the disk has "
            f"{free / 1e9:.2f} GB left; make room"
        )


async def _write(file: RawIOBase, name: str, n_bytes: int, pieces: AsyncIterable[bytes]) -> None:
    """Writes all pieces, as long as they are what was announced, without holding up the loop."""
    n_taken, held = 0, bytearray()
    async for piece in pieces:
        if n_taken < len(_MAGIC) <= n_taken + len(piece) and not (held + piece).startswith(_MAGIC):
            raise InputError(f"{name}: is no GGUF file: it does not begin with {_MAGIC.decode()}")
        n_taken += len(piece)
        held += piece
        if n_taken > n_bytes:
            raise InputError(f"{name}: more than the {n_bytes} bytes came that were announced")
        if len(held) >= _AT_ONCE:
            await asyncio.to_thread(_write_all, file, held)
            held = bytearray()
    if n_taken < n_bytes:
        raise InputError(f"{name}: {n_bytes} bytes were announced, {n_taken} came")
    await asyncio.to_thread(_write_all, file, held)


def _write_all(file: RawIOBase, held: bytearray) -> None:
    rest = memoryview(held)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _put(temporary: str, target: Path) -> None:
    """Puts a file in place that can be opened as a model."""
    try:
        open_gguf(temporary).close()
    except ModelError as error:
        raise InputError(str(error).replace(temporary, target.name)) from None
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)


def _unwritable(name: str, error: OSError) -> BackendError:
    return BackendError(f"{name}: cannot be written: {error.strerror or error}")
